/* Sets of slots as bytes: the operations of bitset.py, with the same results. */

#include "core.h"

PyObject *empty_mask;

int is_mask(PyObject *object)
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

PyObject *masks_paint(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
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

PyObject *masks_flipped(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
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

PyObject *masks_union(PyObject *module, PyObject *masks) { return combined(masks, 0); }

PyObject *masks_meet(PyObject *module, PyObject *masks)
{
    Py_ssize_t count = PySequence_Size(masks);
    if (count == 0)
        PyErr_SetString(PyExc_IndexError, "no mask is given");
    return count > 0 ? combined(masks, 1) : NULL;
}

PyObject *masks_weight(PyObject *module, PyObject *mask)
{
    return is_mask(mask) ? PyLong_FromSsize_t(PyBytes_GET_SIZE(mask) + 33) : NULL;
}

/* How many bits are set, without the instruction that not every machine has. */
static inline Py_ssize_t bits_set(uint64_t word)
{
    word -= (word >> 1) & 0x5555555555555555u;
    word = (word & 0x3333333333333333u) + ((word >> 2) & 0x3333333333333333u);
    word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (Py_ssize_t)((word * 0x0101010101010101u) >> 56);
}

PyObject *owners_in(const uint64_t *bits, Py_ssize_t words, PyObject *owners)
{
    Py_ssize_t found = 0, known = PyList_GET_SIZE(owners), place = 0;
    for (Py_ssize_t i = 0; i < words; i++)
        found += bits_set(bits[i]);
    PyObject *result = PyList_New(found);
    for (Py_ssize_t i = 0; result && i < words; i++) {
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

PyObject *masks_pick(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 3 || !PyList_Check(arguments[2])) {
        PyErr_SetString(PyExc_TypeError, "pick(alive, failing, owners)");
        return NULL;
    }
    if (!is_mask(arguments[0]))
        return NULL;
    PyObject *masks = PySequence_Fast(arguments[1], "failing must be a sequence");
    PyObject *left = masks ? widened(arguments[0], 0) : NULL, *result = NULL;
    for (Py_ssize_t i = 0; left && i < PySequence_Fast_GET_SIZE(masks); i++) {
        PyObject *mask = PySequence_Fast_GET_ITEM(masks, i);
        if (!is_mask(mask))
            goto done;
        Py_ssize_t shared = words_of(mask) < words_of(left) ? words_of(mask) : words_of(left);
        for (Py_ssize_t j = 0; j < shared; j++)
            bits_of(left)[j] &= ~bits_of(mask)[j];
    }
    if (left)
        result = owners_in(bits_of(left), words_of(left), arguments[2]);
done:
    Py_XDECREF(left);
    Py_XDECREF(masks);
    return result;
}

int flip(uint64_t *bits, Py_ssize_t words, PyObject *slots, Py_ssize_t count)
{
    Py_buffer view;
    if (!open_slots(slots, &view))
        return -1;
    const unsigned int *numbers = view.buf;
    if (count > (Py_ssize_t)(view.len / sizeof(unsigned int)))
        count = view.len / sizeof(unsigned int);
    for (Py_ssize_t i = 0; i < count; i++)
        if (numbers[i] / 64 < (size_t)words)
            bits[numbers[i] / 64] ^= (uint64_t)1 << (numbers[i] % 64);
    PyBuffer_Release(&view);
    return 0;
}

int make_masks(PyObject *module)
{
    empty_mask = PyBytes_FromStringAndSize(NULL, 0);
    return empty_mask ? PyModule_AddObjectRef(module, "EMPTY", empty_mask) : -1;
}
