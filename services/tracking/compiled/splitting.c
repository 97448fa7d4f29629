/* Requests taken apart into arrivals. */

#include "events.h"

#define MAX_BATCH 5000 /* of event.py */

static PyObject *arrival_of(Bytes body, const Event *event)
{
    PyObject *arrival = PyTuple_New(TEXTS + 3);
    if (!arrival)
        return NULL;
    for (int i = 0; i < TEXTS; i++)
        PyTuple_SET_ITEM(arrival, i, bytes_of(event->texts[i]));
    PyTuple_SET_ITEM(arrival, TEXTS, PyLong_FromUnsignedLongLong(event->seconds));
    PyTuple_SET_ITEM(arrival, TEXTS + 1, bytes_of(body));
    PyTuple_SET_ITEM(arrival, TEXTS + 2, Py_NewRef(Py_None));
    if (PyErr_Occurred())
        Py_CLEAR(arrival);
    return arrival;
}

static int open_request(PyObject *request, Bytes *rest)
{
    if (!PyBytes_Check(request)) {
        PyErr_SetString(PyExc_TypeError, "a request is a bytes object");
        return 0;
    }
    *rest = content_of(request);
    return 1;
}

PyObject *split(PyObject *module, PyObject *request)
{
    Bytes rest, body;
    Event event;
    (void)module;
    if (!open_request(request, &rest))
        return NULL;
    PyObject *found = PyList_New(0);
    while (found && rest.at < rest.end) {
        if (PyList_GET_SIZE(found) == MAX_BATCH || !take_event(&rest, &body)) {
            Py_DECREF(found);
            Py_RETURN_NONE;
        }
        PyObject *item = is_plain(body, &event) ? arrival_of(body, &event) : bytes_of(body);
        if (!item || PyList_Append(found, item) < 0)
            Py_CLEAR(found);
        Py_XDECREF(item);
    }
    return found;
}

PyObject *programs_of(PyObject *module, PyObject *request)
{
    Bytes rest, body, last = {NULL, NULL};
    Event event;
    (void)module;
    if (!open_request(request, &rest))
        return NULL;
    PyObject *found = PySet_New(NULL);
    for (int count = 0; found && rest.at < rest.end; count++) {
        if (count == MAX_BATCH || !take_event(&rest, &body) || !is_plain(body, &event)) {
            Py_DECREF(found);
            Py_RETURN_NONE;
        }
        Bytes name = event.texts[PROGRAM_ID];
        if (last.at && same(name, last))
            continue;
        PyObject *program_id = bytes_of(last = name);
        if (!program_id || PySet_Add(found, program_id) < 0)
            Py_CLEAR(found);
        Py_XDECREF(program_id);
    }
    return found;
}
