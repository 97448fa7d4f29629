/* The slots that fail under one key with the value a message has for it: column.py, for what is looked up often. */

#include "core.h"

#define FEW_WORDS 256 /* of sets that are kept on the stack */

/* The slots that fail: those of `mask` but not those that `but` has. */
struct failing {
    PyObject *mask; /* a reference of its own */
    const uint64_t *but;
    Py_ssize_t but_words;
};

enum combine { TAKE_OUT, MEET };

static void combine(uint64_t *set, Py_ssize_t words, const struct failing *failing, enum combine how)
{
    const uint64_t *bits = bits_of(failing->mask), *but = failing->but;
    Py_ssize_t known = words_of(failing->mask) < words ? words_of(failing->mask) : words;
    Py_ssize_t both = failing->but_words < known ? failing->but_words : known;
    if (how == TAKE_OUT) {
        for (Py_ssize_t i = 0; i < both; i++)
            set[i] &= ~(bits[i] & ~but[i]);
        for (Py_ssize_t i = both; i < known; i++)
            set[i] &= ~bits[i];
    } else {
        for (Py_ssize_t i = 0; i < both; i++)
            set[i] &= bits[i] & ~but[i];
        for (Py_ssize_t i = both; i < known; i++)
            set[i] &= bits[i];
        memset(set + known, 0, (words - known) * WORD_BYTES);
    }
}

int read_column(PyObject *plan, struct column *column)
{
    if (!PyTuple_CheckExact(plan) || PyTuple_GET_SIZE(plan) != 9)
        goto refused;
    column->memo = PyTuple_GET_ITEM(plan, 0);
    column->compute = PyTuple_GET_ITEM(plan, 1);
    column->unnamed = PyTuple_GET_ITEM(plan, 2);
    column->tables = PyTuple_GET_ITEM(plan, 3);
    column->firsts = PyTuple_GET_ITEM(plan, 4);
    column->stretches = PyTuple_GET_ITEM(plan, 5);
    column->has_patterns = PyTuple_GET_ITEM(plan, 6) == Py_True;
    column->has_numbers = PyTuple_GET_ITEM(plan, 7) == Py_True;
    column->counts_together = PyTuple_GET_ITEM(plan, 8) == Py_True;
    if (!is_mask(column->unnamed))
        return -1;
    if (PyDict_CheckExact(column->memo) && PyTuple_CheckExact(column->tables) && PyList_CheckExact(column->firsts) &&
        PyList_CheckExact(column->stretches) &&
        PyList_GET_SIZE(column->stretches) == PyList_GET_SIZE(column->firsts) + 1)
        return 0;
refused:
    PyErr_SetString(PyExc_TypeError, "a column is not what Column.plan makes it");
    return -1;
}

/* A new reference to the mask for some values. */
static PyObject *computed(const struct column *column, PyObject *values)
{
    PyObject *mask = PyObject_CallOneArg(column->compute, values);
    if (mask && !is_mask(mask))
        Py_CLEAR(mask);
    return mask;
}

static PyObject *computed_for(const struct column *column, PyObject *scalar)
{
    PyObject *values = PyTuple_Pack(1, scalar);
    PyObject *mask = values ? computed(column, values) : NULL;
    Py_XDECREF(values);
    return mask;
}

/* 1: some condition names the very value; 0: none does. */
static int is_named(const struct column *column, PyObject *scalar)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(column->tables); i++) {
        int found = PyDict_Contains(PyTuple_GET_ITEM(column->tables, i), scalar);
        if (found)
            return found;
    }
    return 0;
}

/* The mask for a text or a literal, a new reference. */
static PyObject *looked_up(const struct column *column, PyObject *scalar)
{
    PyObject *mask = PyDict_GetItemWithError(column->memo, scalar);
    if (mask)
        return is_mask(mask) ? Py_NewRef(mask) : NULL;
    if (PyErr_Occurred())
        return NULL;
    if (PyUnicode_CheckExact(scalar) && PyUnicode_GET_LENGTH(scalar) && !column->has_patterns) {
        int named = is_named(column, scalar);
        if (named <= 0)
            return named ? NULL : Py_NewRef(column->unnamed);
    }
    return computed_for(column, scalar);
}

/* How many of the ascending numbers are not greater than a number: -1 for an error, -2 when one of them equals it. */
static Py_ssize_t passed(PyObject *numbers, PyObject *number)
{
    Py_ssize_t low = 0, high = PyList_GET_SIZE(numbers);
    while (low < high) {
        Py_ssize_t middle = low + (high - low) / 2;
        int less = PyObject_RichCompareBool(number, PyList_GET_ITEM(numbers, middle), Py_LT);
        if (less < 0)
            return -1;
        if (less)
            high = middle;
        else
            low = middle + 1;
    }
    int equal = low ? PyObject_RichCompareBool(number, PyList_GET_ITEM(numbers, low - 1), Py_EQ) : 0;
    return equal ? (equal < 0 ? -1 : -2) : low;
}

/* Writes the slots whose ranges hold a number into a set. 0: done; 1: left to Python, as at the edge of a range; -1. */
static int hold(const struct column *column, PyObject *number, uint64_t *holding, Py_ssize_t words)
{
    Py_ssize_t place = passed(column->firsts, number);
    if (place < 0)
        return place == -2 ? 1 : -1;
    PyObject *stretch = PyList_GET_ITEM(column->stretches, place);
    if (!PyTuple_Check(stretch) || PyTuple_GET_SIZE(stretch) != 6 || !is_mask(PyTuple_GET_ITEM(stretch, 1)) ||
        !PyList_CheckExact(PyTuple_GET_ITEM(stretch, 3)) || !PyList_CheckExact(PyTuple_GET_ITEM(stretch, 5))) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "a stretch is not what ranges.py makes it");
        return -1;
    }
    PyObject *mask = PyTuple_GET_ITEM(stretch, 1), *ends = PyTuple_GET_ITEM(stretch, 5);
    Py_ssize_t edges = passed(PyTuple_GET_ITEM(stretch, 3), number);
    if (edges < 0)
        return edges == -2 ? 1 : -1;
    Py_ssize_t known = words_of(mask) < words ? words_of(mask) : words;
    memcpy(holding, bits_of(mask), known * WORD_BYTES);
    memset(holding + known, 0, (words - known) * WORD_BYTES);
    if (edges == 0)
        return 0;
    Py_ssize_t flips = edges < PyList_GET_SIZE(ends) ? PyLong_AsSsize_t(PyList_GET_ITEM(ends, edges)) : -1;
    if (flips < 0) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "a stretch is not what ranges.py makes it");
        return -1;
    }
    return flip(holding, words, PyTuple_GET_ITEM(stretch, 4), flips);
}

/* Combines a set with the slots that fail with one scalar. `spare` is as long as the set. */
static int combine_scalar(const struct column *column, PyObject *scalar, uint64_t *set, uint64_t *spare,
                          Py_ssize_t words, enum combine how)
{
    struct failing failing = {NULL, NULL, 0};
    if (Py_TYPE(scalar) == &PyUnicode_Type || kind_of(scalar) != NUMBER) {
        failing.mask = looked_up(column, scalar);
    } else {
        /* To hash a number takes as long as all the rest: only where some condition names one. */
        int left = column->has_numbers ? is_named(column, scalar) : 0;
        if (left == 0)
            left = hold(column, scalar, spare, words);
        if (left < 0)
            return -1;
        failing.mask = left ? looked_up(column, scalar) : Py_NewRef(column->unnamed);
        if (!left) {
            failing.but = spare;
            failing.but_words = words;
        }
    }
    if (!failing.mask)
        return -1;
    combine(set, words, &failing, how);
    Py_DECREF(failing.mask);
    return 0;
}

/* The same for the values of an array that count together: left to Python, remembered by all of them. */
static int take_out_together(const struct column *column, PyObject *array, uint64_t *left, Py_ssize_t words)
{
    PyObject *values = values_of(array);
    if (!values)
        return -1;
    struct failing failing = {Py_XNewRef(PyDict_GetItemWithError(column->memo, values)), NULL, 0};
    if (!failing.mask && !PyErr_Occurred())
        failing.mask = computed(column, values);
    Py_DECREF(values);
    if (!failing.mask)
        return -1;
    int right = is_mask(failing.mask);
    if (right)
        combine(left, words, &failing, TAKE_OUT);
    Py_DECREF(failing.mask);
    return right ? 0 : -1;
}

/* An array fails where each of its values does. */
static int take_out_array(const struct column *column, PyObject *array, uint64_t *left, uint64_t *spare,
                          Py_ssize_t words)
{
    uint64_t *all = spare + words;
    memset(all, 0xff, words * WORD_BYTES);
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(array); i++)
        if (combine_scalar(column, scalar_of(PyList_GET_ITEM(array, i)), all, spare, words, MEET) < 0)
            return -1;
    for (Py_ssize_t i = 0; i < words; i++)
        left[i] &= ~all[i];
    return 0;
}

int take_out_failing(const struct column *column, PyObject *value, uint64_t *left, Py_ssize_t words)
{
    uint64_t few[2 * FEW_WORDS], *spare = few;
    int several = PyList_CheckExact(value) && PyList_GET_SIZE(value) > 1;
    if (several && column->counts_together)
        return take_out_together(column, value, left, words);
    if (words > FEW_WORDS && !(spare = PyMem_Malloc(2 * words * WORD_BYTES))) {
        PyErr_NoMemory();
        return -1;
    }
    int done;
    if (several)
        done = take_out_array(column, value, left, spare, words);
    else
        done = combine_scalar(column, scalar_of(PyList_CheckExact(value) ? PyList_GET_ITEM(value, 0) : value), left,
                              spare, words, TAKE_OUT);
    if (spare != few)
        PyMem_Free(spare);
    return done;
}
