/* The match of one message: what index.py does with the facets of a message, for messages without arrays of objects.

   Nobody changes the document meanwhile: Index.match_document asks for that. So what it holds is borrowed throughout,
   and an array that was found to hold scalars alone holds them still after Python was called. */

#include "core.h"

#define FEW_WORDS 256 /* of sets that are kept on the stack */

/* What Index.plan holds. */
struct plan {
    PyObject *fields;          /* dict: key -> (filed or None, number of the column or -1, Column.plan or None) */
    PyObject *always;          /* tuple of the owners of policies without keys */
    PyObject *alive;           /* the mask of all slots in use */
    PyObject *owners;          /* list: slot -> owner */
    PyObject *doubts;          /* dict: slot -> checks that decide it when no column does */
    PyObject *shapes;          /* dict: mask of columns -> mask of the slots that fail for want of another one */
    PyObject *failing_without; /* callable: computes such a mask and remembers it */
    Py_ssize_t columns;
    int repeating; /* some owners have several branches */
};

static int read_plan(PyObject *tuple, struct plan *plan)
{
    if (!PyTuple_CheckExact(tuple) || PyTuple_GET_SIZE(tuple) != 9)
        goto refused;
    plan->fields = PyTuple_GET_ITEM(tuple, 0);
    plan->always = PyTuple_GET_ITEM(tuple, 1);
    plan->alive = PyTuple_GET_ITEM(tuple, 2);
    plan->owners = PyTuple_GET_ITEM(tuple, 3);
    plan->doubts = PyTuple_GET_ITEM(tuple, 4);
    plan->shapes = PyTuple_GET_ITEM(tuple, 5);
    plan->failing_without = PyTuple_GET_ITEM(tuple, 6);
    plan->columns = PyLong_AsSsize_t(PyTuple_GET_ITEM(tuple, 7));
    plan->repeating = PyTuple_GET_ITEM(tuple, 8) == Py_True;
    if (plan->columns >= 0 && PyDict_CheckExact(plan->fields) && PyTuple_CheckExact(plan->always) &&
        PyBytes_CheckExact(plan->alive) && PyList_CheckExact(plan->owners) && PyDict_CheckExact(plan->doubts) &&
        PyDict_CheckExact(plan->shapes) && is_mask(plan->alive))
        return 0;
refused:
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_TypeError, "match(plan, document): the plan is not what Index makes it");
    return -1;
}

/* What is known so far of one message. */
struct state {
    const struct plan *plan;
    PyObject *document;
    PyObject *found;       /* list of owners */
    uint64_t *left;        /* slots that have not failed */
    Py_ssize_t words;      /* of left */
    uint64_t *shape;       /* the columns that the message has values for */
    Py_ssize_t shape_size; /* in words */
    int several;           /* an owner may have been found by several values of an array */
};

static int is_missing(PyObject *value) { return !value || (PyList_CheckExact(value) && PyList_GET_SIZE(value) == 0); }

/* Whether one of the values, a scalar or an array, is among those of a container; -1 for an error. */
static int has_one_of(PyObject *container, PyObject *value)
{
    PyObject *scalar = scalar_of(value);
    if (scalar)
        return PySequence_Contains(container, scalar);
    int found = 0;
    for (Py_ssize_t i = 0; !found && i < PyList_GET_SIZE(value); i++)
        found = PySequence_Contains(container, scalar_of(PyList_GET_ITEM(value, i)));
    return found;
}

/* Whether a rule, (key, exact values or None, Rule.accepting or None), holds: 1, 0, or -1 for an error. */
static int holds(PyObject *check, PyObject *document)
{
    if (!PyTuple_Check(check) || PyTuple_GET_SIZE(check) != 3) {
        PyErr_SetString(PyExc_TypeError, "a check is a key, exact values and a callable");
        return -1;
    }
    PyObject *exact = PyTuple_GET_ITEM(check, 1);
    PyObject *value = PyDict_GetItemWithError(document, PyTuple_GET_ITEM(check, 0));
    if (!value && PyErr_Occurred())
        return -1;
    if (!is_missing(value) && !scalar_of(value) && !(PyList_CheckExact(value) && is_array_of_scalars(value)))
        return 0; /* such a message is left to Python, as will be seen when its turn comes */
    if (exact != Py_None)
        return is_missing(value) ? 0 : has_one_of(exact, value);
    PyObject *values = is_missing(value) ? Py_NewRef(Py_None) : values_of(value);
    PyObject *position = values ? PyObject_CallOneArg(PyTuple_GET_ITEM(check, 2), values) : NULL;
    int accepted = position ? position != Py_None : -1;
    Py_XDECREF(values);
    Py_XDECREF(position);
    return accepted;
}

static int all_hold(PyObject *checks, PyObject *document)
{
    if (!PyTuple_CheckExact(checks)) {
        PyErr_SetString(PyExc_TypeError, "checks are a tuple");
        return -1;
    }
    int held = 1;
    for (Py_ssize_t i = 0; held == 1 && i < PyTuple_GET_SIZE(checks); i++)
        held = holds(PyTuple_GET_ITEM(checks, i), document);
    return held;
}

/* Finds the owners of the branches that are filed under a value, (owner, checks, branch), and hold. */
static int find_filed(struct state *state, PyObject *filed, PyObject *scalar)
{
    PyObject *entries = PyDict_GetItemWithError(filed, scalar);
    if (!entries)
        return PyErr_Occurred() ? -1 : 0;
    if (!PyTuple_CheckExact(entries)) {
        PyErr_SetString(PyExc_TypeError, "what is filed is a tuple");
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(entries); i++) {
        PyObject *entry = PyTuple_GET_ITEM(entries, i);
        if (!PyTuple_Check(entry) || PyTuple_GET_SIZE(entry) != 3) {
            PyErr_SetString(PyExc_TypeError, "what is filed is an owner, checks and a branch");
            return -1;
        }
        int held = all_hold(PyTuple_GET_ITEM(entry, 1), state->document);
        if (held < 0 || (held && PyList_Append(state->found, PyTuple_GET_ITEM(entry, 0)) < 0))
            return -1;
    }
    return 0;
}

static int look_at(struct state *state, PyObject *field, PyObject *value)
{
    if (!PyTuple_CheckExact(field) || PyTuple_GET_SIZE(field) != 3) {
        PyErr_SetString(PyExc_TypeError, "a field is what is filed, the number of a column, and its plan");
        return -1;
    }
    PyObject *filed = PyTuple_GET_ITEM(field, 0), *plan = PyTuple_GET_ITEM(field, 2);
    if (PyDict_CheckExact(filed)) {
        PyObject *scalar = scalar_of(value);
        Py_ssize_t size = scalar ? 1 : PyList_GET_SIZE(value);
        state->several |= size > 1;
        for (Py_ssize_t i = 0; i < size; i++)
            if (find_filed(state, filed, scalar ? scalar : scalar_of(PyList_GET_ITEM(value, i))) < 0)
                return -1;
    }
    if (plan == Py_None)
        return 0;
    struct column column;
    Py_ssize_t number = PyLong_AsSsize_t(PyTuple_GET_ITEM(field, 1));
    if (read_column(plan, &column) < 0 || number < 0 || number >= state->plan->columns) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_IndexError, "a column has a number beyond their count");
        return -1;
    }
    state->shape[number / 64] |= (uint64_t)1 << (number % 64);
    return take_out_failing(&column, value, state->left, state->words);
}

/* 1: every value has been looked at; 0: one is no scalar and no array of scalars; -1. */
static int look_at_all(struct state *state)
{
    PyObject *name, *value;
    Py_ssize_t position = 0;
    int done = 1;
    while (done == 1 && PyDict_Next(state->document, &position, &name, &value)) {
        enum kind kind = kind_of(value);
        if (kind == OBJECT || kind == UNKNOWN || (kind == ARRAY && !is_array_of_scalars(value)))
            return 0;
        PyObject *field = PyDict_GetItemWithError(state->plan->fields, name);
        if (!field || is_missing(value)) {
            done = field || !PyErr_Occurred() ? 1 : -1;
            continue;
        }
        done = look_at(state, field, value) < 0 ? -1 : 1;
    }
    return done;
}

/* Takes out the slots that fail because the message has no value for a key. */
static int take_out_wanting(struct state *state)
{
    const struct plan *plan = state->plan;
    Py_ssize_t size = state->shape_size;
    while (size && !state->shape[size - 1])
        size--;
    PyObject *shape = PyBytes_FromStringAndSize((const char *)state->shape, size * WORD_BYTES);
    if (!shape)
        return -1;
    PyObject *mask = Py_XNewRef(PyDict_GetItemWithError(plan->shapes, shape));
    if (!mask && !PyErr_Occurred())
        mask = PyObject_CallOneArg(plan->failing_without, shape);
    Py_DECREF(shape);
    if (!mask || !is_mask(mask)) {
        Py_XDECREF(mask);
        return -1;
    }
    Py_ssize_t shared = words_of(mask) < state->words ? words_of(mask) : state->words;
    for (Py_ssize_t i = 0; i < shared; i++)
        state->left[i] &= ~bits_of(mask)[i];
    Py_DECREF(mask);
    return 0;
}

/* Takes out the slots that no column decides and that do not hold. */
static int take_out_doubtful(struct state *state)
{
    PyObject *slot, *checks;
    Py_ssize_t position = 0;
    while (PyDict_Next(state->plan->doubts, &position, &slot, &checks)) {
        Py_ssize_t number = PyLong_AsSsize_t(slot);
        if (number < 0 || number / 64 >= state->words) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_IndexError, "a doubtful slot is not alive");
            return -1;
        }
        uint64_t bit = (uint64_t)1 << (number % 64);
        int held = state->left[number / 64] & bit ? all_hold(checks, state->document) : 1;
        if (held < 0)
            return -1;
        if (!held)
            state->left[number / 64] &= ~bit;
    }
    return 0;
}

/* A new list with each owner once. */
static PyObject *distinct(PyObject *owners)
{
    PyObject *seen = PyDict_New(), *result = NULL;
    Py_ssize_t i = 0;
    while (seen && i < PyList_GET_SIZE(owners) && PyDict_SetItem(seen, PyList_GET_ITEM(owners, i), Py_None) == 0)
        i++;
    if (seen && i == PyList_GET_SIZE(owners))
        result = PyDict_Keys(seen);
    Py_XDECREF(seen);
    return result;
}

/* The owners that were found, a new list. */
static PyObject *gathered(struct state *state)
{
    if (state->words && (take_out_wanting(state) < 0 || take_out_doubtful(state) < 0))
        return NULL;
    PyObject *sifted = owners_in(state->left, state->words, state->plan->owners), *result = NULL;
    if (!sifted)
        return NULL;
    Py_ssize_t size = PyList_GET_SIZE(state->found);
    if (size == 0)
        result = Py_NewRef(sifted);
    else if (PyList_SetSlice(state->found, size, size, sifted) == 0)
        result = Py_NewRef(state->found);
    Py_DECREF(sifted);
    if (result && (state->plan->repeating || state->several))
        Py_SETREF(result, distinct(result));
    return result;
}

/* NULL without an error: left to Python. */
static PyObject *matched(const struct plan *plan, PyObject *document)
{
    struct state state = {.plan = plan, .document = document, .words = words_of(plan->alive)};
    state.shape_size = (plan->columns + 63) / 64;
    uint64_t few[FEW_WORDS], *sets = few;
    if (state.words + state.shape_size > FEW_WORDS &&
        !(sets = PyMem_Malloc((state.words + state.shape_size) * WORD_BYTES)))
        return PyErr_NoMemory();
    state.left = sets;
    state.shape = sets + state.words;
    memcpy(state.left, bits_of(plan->alive), state.words * WORD_BYTES);
    memset(state.shape, 0, state.shape_size * WORD_BYTES);
    PyObject *result = NULL;
    state.found = PySequence_List(plan->always);
    if (state.found && look_at_all(&state) == 1)
        result = gathered(&state);
    Py_XDECREF(state.found);
    if (sets != few)
        PyMem_Free(sets);
    return result;
}

PyObject *match(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    struct plan plan;
    if (count != 2 || !PyDict_CheckExact(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "match(plan, document)");
        return NULL;
    }
    if (read_plan(arguments[0], &plan) < 0)
        return NULL;
    PyObject *result = matched(&plan, arguments[1]);
    if (result || PyErr_Occurred())
        return result;
    PyObject *flat = flattened(arguments[1]);
    if (flat) {
        result = matched(&plan, flat);
        Py_DECREF(flat);
    }
    if (!result && !PyErr_Occurred())
        Py_RETURN_NONE;
    return result;
}
