/* The compiled core of the filter index: what its files share. Reading order: masks, values, column, match, module.

   Whatever it cannot do quickly it leaves to the Python beside it, which decides everything without it too. Objects
   are borrowed references unless a comment says otherwise; -1 or NULL is returned with an error set. */

#ifndef PENSTOCK_FILTERING_CORE_H
#define PENSTOCK_FILTERING_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

/* masks.c: sets of slots.

   A mask is a bytes object of whole words of 64 bits; slots beyond its end are not in it. Slots are arrays of unsigned
   int. Nothing that was handed in or out is ever changed. */

#define WORD_BYTES 8

extern PyObject *empty_mask;

static inline Py_ssize_t words_of(PyObject *mask) { return PyBytes_GET_SIZE(mask) / WORD_BYTES; }
static inline uint64_t *bits_of(PyObject *mask) { return (uint64_t *)PyBytes_AS_STRING(mask); }

int is_mask(PyObject *object); /* 0 with an error set */
PyObject *owners_in(const uint64_t *bits, Py_ssize_t words, PyObject *owners); /* a new list */
int flip(uint64_t *bits, Py_ssize_t words, PyObject *slots, Py_ssize_t count); /* the first `count` of the slots */
int make_masks(PyObject *module);

PyObject *masks_paint(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *masks_flipped(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *masks_union(PyObject *module, PyObject *masks);
PyObject *masks_meet(PyObject *module, PyObject *masks);
PyObject *masks_weight(PyObject *module, PyObject *mask);
PyObject *masks_pick(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

/* values.c: what a parsed JSON document holds. */

enum kind { TEXT, NUMBER, LITERAL, ARRAY, OBJECT, UNKNOWN };

enum kind kind_of(PyObject *value);
PyObject *scalar_of(PyObject *value);          /* as tables have it; NULL, without an error, for what is no scalar */
int is_array_of_scalars(PyObject *array);
PyObject *values_of(PyObject *value);          /* a new tuple of scalars, of one or of an array of them */
PyObject *flattened(PyObject *document);       /* a new dict; NULL without an error: too much for it */
int find_types(void);

/* column.c: the slots that fail under one key. */

/* What Column.plan holds. */
struct column {
    PyObject *memo;      /* dict: value, or tuple of several -> mask of the slots that fail with it */
    PyObject *compute;   /* callable: tuple of values -> the same mask, which it remembers */
    PyObject *unnamed;   /* the mask of a value that nobody names and that lies in no range */
    PyObject *tables;    /* tuple of dicts, whose keys are the exact values that are named */
    PyObject *firsts;    /* list of the numbers that all ranges' stretches but the first begin at */
    PyObject *stretches; /* list of tuples, see ranges.py */
    int has_patterns;    /* texts can be named by a piece of them */
    int has_numbers;     /* numbers can be named */
    int counts_together; /* several values of an array do not simply fail where each of them does */
};

int read_column(PyObject *plan, struct column *column);
/* Takes the slots that fail with a value, a scalar or an array of them that is not empty, out of a set. */
int take_out_failing(const struct column *column, PyObject *value, uint64_t *left, Py_ssize_t words);

/* match.c */

PyObject *match(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

#endif
