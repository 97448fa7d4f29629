/* What a parsed JSON document holds, and documents of nested objects made flat. */

#include "core.h"

#define MAX_DEPTH 64 /* of objects within objects that are flattened here: what is deeper is refused in message.py */

static PyTypeObject *decimal;
static PyObject *true_value, *false_value, *null_value;

enum kind kind_of(PyObject *value)
{
    if (PyUnicode_CheckExact(value))
        return TEXT;
    if (Py_TYPE(value) == decimal)
        return NUMBER;
    if (value == Py_None || value == Py_True || value == Py_False)
        return LITERAL;
    if (PyList_CheckExact(value))
        return ARRAY;
    return PyDict_CheckExact(value) ? OBJECT : UNKNOWN;
}

PyObject *scalar_of(PyObject *value)
{
    if (PyUnicode_CheckExact(value) || Py_TYPE(value) == decimal)
        return value;
    if (value == Py_None)
        return null_value;
    if (value == Py_True)
        return true_value;
    return value == Py_False ? false_value : NULL;
}

int is_array_of_scalars(PyObject *array)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(array); i++)
        if (!scalar_of(PyList_GET_ITEM(array, i)))
            return 0;
    return 1;
}

PyObject *values_of(PyObject *value)
{
    PyObject *scalar = scalar_of(value);
    if (scalar)
        return PyTuple_Pack(1, scalar);
    PyObject *values = PyTuple_New(PyList_GET_SIZE(value));
    for (Py_ssize_t i = 0; values && i < PyList_GET_SIZE(value); i++)
        PyTuple_SET_ITEM(values, i, Py_NewRef(scalar_of(PyList_GET_ITEM(value, i))));
    return values;
}

/* 1: taken in; 0: too much for this: an array of containers, a name twice, great depth. */
static int flatten(PyObject *object, PyObject *prefix, PyObject *flat, int depth)
{
    PyObject *name, *value;
    Py_ssize_t position = 0;
    int taken = 1;
    while (taken == 1 && PyDict_Next(object, &position, &name, &value)) {
        enum kind kind = kind_of(value);
        if (kind == UNKNOWN || !PyUnicode_CheckExact(name) || (kind == ARRAY && !is_array_of_scalars(value)))
            return 0;
        if (kind == ARRAY && PyList_GET_SIZE(value) == 0)
            continue;
        PyObject *path = prefix ? PyUnicode_Concat(prefix, name) : Py_NewRef(name);
        if (!path)
            return -1;
        if (kind == OBJECT) {
            PyObject *inner = depth < MAX_DEPTH ? PyUnicode_FromFormat("%U.", path) : NULL;
            taken = inner ? flatten(value, inner, flat, depth + 1) : PyErr_Occurred() ? -1 : 0;
            Py_XDECREF(inner);
        } else {
            /* A name with a dot in it can lead to the path of another value. */
            Py_ssize_t before = PyDict_GET_SIZE(flat);
            taken = PyDict_SetDefault(flat, path, value) ? PyDict_GET_SIZE(flat) > before : -1;
        }
        Py_DECREF(path);
    }
    return taken;
}

PyObject *flattened(PyObject *document)
{
    PyObject *flat = PyDict_New();
    if (flat && flatten(document, NULL, flat, 0) != 1)
        Py_CLEAR(flat);
    return flat;
}

/* A new reference to what a module has under a name. */
static PyObject *imported(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *found = module ? PyObject_GetAttrString(module, name) : NULL;
    Py_XDECREF(module);
    return found;
}

int find_types(void)
{
    PyObject *constants = imported("services.filtering.values", "Constant");
    PyObject *number = imported("decimal", "Decimal");
    if (constants && number && PyType_Check(number)) {
        decimal = (PyTypeObject *)Py_NewRef(number);
        true_value = PyObject_GetAttrString(constants, "TRUE");
        false_value = PyObject_GetAttrString(constants, "FALSE");
        null_value = PyObject_GetAttrString(constants, "NULL");
    }
    Py_XDECREF(constants);
    Py_XDECREF(number);
    return true_value && false_value && null_value ? 0 : -1;
}
