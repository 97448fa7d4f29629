/* Sets of slots as bytes: the operations of bitset.py, with the same results, where a C compiler was at hand. And one
   operation on messages, `flat`, beside its portable form in message.py.

   A mask is a bytes object of whole words of 64 bits; slots beyond its end are not in it. Slots are arrays of unsigned
   int. Nothing that was handed in or out is ever changed. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define WORD_BYTES 8
#define MOST_KEYS 64 /* of a message that are looked up without asking for memory */

static PyObject *empty;

static inline Py_ssize_t words_of(PyObject *mask) { return PyBytes_GET_SIZE(mask) / WORD_BYTES; }
static inline uint64_t *bits_of(PyObject *mask) { return (uint64_t *)PyBytes_AS_STRING(mask); }

static int is_mask(PyObject *object)
{
    if (PyBytes_Check(object) && PyBytes_GET_SIZE(object) % WORD_BYTES == 0)
        return 1;
    PyErr_SetString(PyExc_TypeError, "a mask is a bytes object of whole words");
    return 0;
}

static PyObject *new_mask(Py_ssize_t words)
{
    PyObject *mask = PyBytes_FromStringAndSize(NULL, words * WORD_BYTES);
    if (mask)
        memset(PyBytes_AS_STRING(mask), 0, words * WORD_BYTES);
    return mask;
}

static int open_slots(PyObject *object, Py_buffer *view)
{
    if (PyObject_GetBuffer(object, view, PyBUF_SIMPLE) < 0)
        return 0;
    if (view->len % sizeof(unsigned int) == 0)
        return 1;
    PyBuffer_Release(view);
    PyErr_SetString(PyExc_TypeError, "slots are an array of unsigned int");
    return 0;
}

/* The words a mask needs to hold every slot of some lists; -1 with an error set. */
static Py_ssize_t words_for(PyObject *lists)
{
    Py_ssize_t words = 0;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(lists); i++) {
        Py_buffer view;
        if (!open_slots(PySequence_Fast_GET_ITEM(lists, i), &view))
            return -1;
        Py_ssize_t count = view.len / sizeof(unsigned int);
        for (Py_ssize_t j = 0; j < count; j++) {
            Py_ssize_t needed = (Py_ssize_t)(((unsigned int *)view.buf)[j] / 64) + 1;
            if (needed > words)
                words = needed;
        }
        PyBuffer_Release(&view);
    }
    return words;
}

enum operation { ADD, REMOVE, FLIP };

/* Changes a mask that nobody else has seen; slots beyond its end must not be added. */
static int apply(PyObject *mask, PyObject *lists, enum operation operation)
{
    uint64_t *bits = bits_of(mask);
    Py_ssize_t words = words_of(mask);
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(lists); i++) {
        Py_buffer view;
        if (!open_slots(PySequence_Fast_GET_ITEM(lists, i), &view))
            return 0;
        Py_ssize_t count = view.len / sizeof(unsigned int);
        const unsigned int *slots = view.buf;
        for (Py_ssize_t j = 0; j < count; j++) {
            Py_ssize_t word = slots[j] / 64;
            uint64_t bit = (uint64_t)1 << (slots[j] % 64);
            if (word >= words)
                continue;
            if (operation == ADD)
                bits[word] |= bit;
            else if (operation == REMOVE)
                bits[word] &= ~bit;
            else
                bits[word] ^= bit;
        }
        PyBuffer_Release(&view);
    }
    return 1;
}

static PyObject *widened(PyObject *mask, Py_ssize_t words)
{
    PyObject *copy = new_mask(words > words_of(mask) ? words : words_of(mask));
    if (copy)
        memcpy(PyBytes_AS_STRING(copy), PyBytes_AS_STRING(mask), PyBytes_GET_SIZE(mask));
    return copy;
}

static PyObject *paint(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "paint(base, added, removed, without)");
        return NULL;
    }
    PyObject *base = arguments[0], *without = arguments[3], *result = NULL;
    if (!is_mask(base) || !is_mask(without))
        return NULL;
    PyObject *added = PySequence_Fast(arguments[1], "added must be a sequence");
    PyObject *removed = added ? PySequence_Fast(arguments[2], "removed must be a sequence") : NULL;
    Py_ssize_t words = removed ? words_for(added) : -1;
    if (words >= 0)
        result = widened(base, words);
    if (result && !(apply(result, added, ADD) && apply(result, removed, REMOVE)))
        Py_CLEAR(result);
    if (result) {
        uint64_t *bits = bits_of(result), *others = bits_of(without);
        Py_ssize_t shared = words_of(without) < words_of(result) ? words_of(without) : words_of(result);
        for (Py_ssize_t i = 0; i < shared; i++)
            bits[i] &= ~others[i];
    }
    Py_XDECREF(added);
    Py_XDECREF(removed);
    return result;
}

static PyObject *flipped(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "flipped(mask, slots)");
        return NULL;
    }
    if (!is_mask(arguments[0]))
        return NULL;
    PyObject *lists = PyTuple_Pack(1, arguments[1]), *result = NULL;
    Py_ssize_t words = lists ? words_for(lists) : -1;
    if (words >= 0)
        result = widened(arguments[0], words);
    if (result && !apply(result, lists, FLIP))
        Py_CLEAR(result);
    Py_XDECREF(lists);
    return result;
}

static PyObject *combined(PyObject *argument, int meets)
{
    PyObject *masks = PySequence_Fast(argument, "masks must be a sequence"), *result = NULL;
    if (!masks)
        return NULL;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(masks), words = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *mask = PySequence_Fast_GET_ITEM(masks, i);
        if (!is_mask(mask))
            goto done;
        if (words_of(mask) > words)
            words = words_of(mask);
    }
    result = new_mask(words);
    for (Py_ssize_t i = 0; result && i < count; i++) {
        PyObject *mask = PySequence_Fast_GET_ITEM(masks, i);
        uint64_t *bits = bits_of(result), *others = bits_of(mask);
        Py_ssize_t shared = words_of(mask);
        if (!meets || i == 0) {
            for (Py_ssize_t j = 0; j < shared; j++)
                bits[j] |= others[j];
        } else {
            for (Py_ssize_t j = 0; j < shared; j++)
                bits[j] &= others[j];
            memset(bits + shared, 0, (words - shared) * WORD_BYTES);
        }
    }
done:
    Py_DECREF(masks);
    return result;
}

static PyObject *union_of(PyObject *module, PyObject *masks) { return combined(masks, 0); }

static PyObject *meet(PyObject *module, PyObject *masks)
{
    Py_ssize_t count = PySequence_Size(masks);
    if (count == 0)
        PyErr_SetString(PyExc_IndexError, "no mask is given");
    return count > 0 ? combined(masks, 1) : NULL;
}

static PyObject *weight(PyObject *module, PyObject *mask)
{
    return is_mask(mask) ? PyLong_FromSsize_t(PyBytes_GET_SIZE(mask) + 33) : NULL;
}

/* A new reference to what a memo has for a key, or else to the answer of who computes it. */
static PyObject *remembered(PyObject *memo, PyObject *key, PyObject *compute)
{
    PyObject *mask = PyDict_GetItemWithError(memo, key);
    if (mask)
        Py_INCREF(mask);
    else if (!PyErr_Occurred())
        mask = PyObject_CallOneArg(compute, key);
    if (mask && !is_mask(mask))
        Py_CLEAR(mask);
    return mask;
}

static void take_out(uint64_t *bits, Py_ssize_t words, PyObject *mask)
{
    const uint64_t *others = bits_of(mask);
    Py_ssize_t shared = words_of(mask) < words ? words_of(mask) : words;
    for (Py_ssize_t i = 0; i < shared; i++)
        bits[i] &= ~others[i];
}

static PyObject *owners_in(const uint64_t *bits, Py_ssize_t words, PyObject *owners)
{
    Py_ssize_t found = 0, known = PyList_GET_SIZE(owners);
    for (Py_ssize_t i = 0; i < words; i++)
        found += __builtin_popcountll(bits[i]);
    PyObject *result = PyList_New(found);
    if (!result)
        return NULL;
    Py_ssize_t place = 0;
    for (Py_ssize_t i = 0; i < words; i++) {
        for (uint64_t word = bits[i]; word; word &= word - 1) {
            Py_ssize_t slot = i * 64 + __builtin_ctzll(word);
            if (slot >= known) {
                PyErr_SetString(PyExc_IndexError, "a slot has no owner");
                Py_DECREF(result);
                return NULL;
            }
            PyList_SET_ITEM(result, place++, Py_NewRef(PyList_GET_ITEM(owners, slot)));
        }
    }
    return result;
}

/* What `sift` knows of one key of the message. */
struct known {
    PyObject *key, *values, *memo, *compute;
};

static PyObject *sifted(struct known *known, Py_ssize_t count, PyObject *const *arguments)
{
    PyObject *alive = arguments[4], *result = NULL, *shape = PyTuple_New(count);
    if (!shape)
        return NULL;
    for (Py_ssize_t i = 0; i < count; i++)
        PyTuple_SET_ITEM(shape, i, Py_NewRef(known[i].key));
    PyObject *mask = remembered(arguments[2], shape, arguments[3]);
    Py_DECREF(shape);
    Py_ssize_t words = words_of(alive);
    PyObject *left = mask ? widened(alive, words) : NULL;
    for (Py_ssize_t i = 0; left; i++) {
        take_out(bits_of(left), words, mask);
        Py_CLEAR(mask);
        if (i == count) {
            result = owners_in(bits_of(left), words, arguments[5]);
            break;
        }
        mask = remembered(known[i].memo, known[i].values, known[i].compute);
        if (!mask)
            break;
    }
    Py_XDECREF(left);
    Py_XDECREF(mask);
    return result;
}

static PyObject *sift(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 6 || !PyDict_Check(arguments[0]) || !PyDict_Check(arguments[1]) || !PyDict_Check(arguments[2]) ||
        !PyList_Check(arguments[5])) {
        PyErr_SetString(PyExc_TypeError, "sift(values, columns, shapes, failing_without, alive, owners)");
        return NULL;
    }
    if (!is_mask(arguments[4]))
        return NULL;
    struct known few[MOST_KEYS], *known = few;
    Py_ssize_t size = PyDict_GET_SIZE(arguments[0]), found = 0, position = 0;
    if (size > MOST_KEYS && !(known = PyMem_Malloc(size * sizeof(struct known))))
        return PyErr_NoMemory();
    PyObject *key, *values, *result = NULL;
    while (PyDict_Next(arguments[0], &position, &key, &values)) {
        PyObject *column = PyDict_GetItemWithError(arguments[1], key);
        if (!column && PyErr_Occurred())
            goto done;
        if (!column)
            continue;
        if (!PyTuple_Check(column) || PyTuple_GET_SIZE(column) != 2 || !PyDict_Check(PyTuple_GET_ITEM(column, 0))) {
            PyErr_SetString(PyExc_TypeError, "a column is a memo and who computes what is not in it");
            goto done;
        }
        known[found++] = (struct known){key, values, PyTuple_GET_ITEM(column, 0), PyTuple_GET_ITEM(column, 1)};
    }
    result = sifted(known, found, arguments);
done:
    if (known != few)
        PyMem_Free(known);
    return result;
}

/* The members of a JSON object as tuples of their values, when all of them are texts, numbers of the given type, or
   arrays of these; None when the object holds anything else. Empty arrays have no values. */
static PyObject *flat(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 2 || !PyDict_Check(arguments[0]) || !PyType_Check(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "flat(document, number_type)");
        return NULL;
    }
    PyTypeObject *number = (PyTypeObject *)arguments[1];
    PyObject *result = PyDict_New(), *name, *value;
    Py_ssize_t position = 0;
    while (result && PyDict_Next(arguments[0], &position, &name, &value)) {
        PyObject *values = NULL;
        if (PyUnicode_CheckExact(value) || Py_TYPE(value) == number) {
            values = PyTuple_Pack(1, value);
        } else if (PyList_CheckExact(value)) {
            Py_ssize_t size = PyList_GET_SIZE(value), plain = 0;
            while (plain < size && (PyUnicode_CheckExact(PyList_GET_ITEM(value, plain)) ||
                                    Py_TYPE(PyList_GET_ITEM(value, plain)) == number))
                plain++;
            if (size == 0)
                continue;
            if (plain == size)
                values = PyList_AsTuple(value);
        }
        if (!values) {
            Py_DECREF(result);
            if (PyErr_Occurred())
                return NULL;
            Py_RETURN_NONE;
        }
        if (PyDict_SetItem(result, name, values) < 0)
            Py_CLEAR(result);
        Py_DECREF(values);
    }
    return result;
}

static PyMethodDef methods[] = {
    {"flat", (PyCFunction)(void (*)(void))flat, METH_FASTCALL, NULL},
    {"paint", (PyCFunction)(void (*)(void))paint, METH_FASTCALL, NULL},
    {"flipped", (PyCFunction)(void (*)(void))flipped, METH_FASTCALL, NULL},
    {"union", union_of, METH_O, NULL},
    {"meet", meet, METH_O, NULL},
    {"weight", weight, METH_O, NULL},
    {"sift", (PyCFunction)(void (*)(void))sift, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_bitset", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit__bitset(void)
{
    PyObject *module = PyModule_Create(&definition);
    empty = PyBytes_FromStringAndSize(NULL, 0);
    if (module && empty && PyModule_AddObjectRef(module, "EMPTY", empty) == 0)
        return module;
    Py_XDECREF(module);
    return NULL;
}
