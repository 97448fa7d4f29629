/* Serialized events read without protobuf, as far as the decision about them needs: see arrivals.py.

   What is understood here is understood exactly as protobuf does; whatever could be read in two ways is not understood
   and left to protobuf. Hence an event is plain only if its fields stand in ascending order, each once, short texts in
   ASCII, and none among them that the intake completes, replaces or has to judge. Nothing is ever read beyond the end.

   Encoding: https://protobuf.dev/programming-guides/encoding/ */

#ifndef PENSTOCK_EVENTS_H
#define PENSTOCK_EVENTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum { PROGRAM_ID, MESSAGE_ID, USER_AGENT, CHECKSUM, TEXTS };

typedef struct {
    const uint8_t *at, *end;
} Bytes;

typedef struct {
    Bytes texts[TEXTS];
    uint64_t seconds;
} Event;

/* Takes the next event off a request, as it stands there. False at the end, and where something else stands. */
int take_event(Bytes *rest, Bytes *body);

/* Whether an event is plain; what there is to know of it then. */
int is_plain(Bytes body, Event *event);

static inline Py_ssize_t size_of(Bytes content) { return content.end - content.at; }

/* Where a size is 0 there may be no address, which memcmp must not be given. */
static inline int same(Bytes one, Bytes other)
{
    return size_of(one) == size_of(other) && (!size_of(one) || !memcmp(one.at, other.at, size_of(one)));
}

static inline Bytes content_of(PyObject *bytes)
{
    const uint8_t *at = (const uint8_t *)PyBytes_AS_STRING(bytes);
    return (Bytes){.at = at, .end = at + PyBytes_GET_SIZE(bytes)};
}

static inline PyObject *bytes_of(Bytes content)
{
    return PyBytes_FromStringAndSize((const char *)content.at, size_of(content));
}

/* The functions of the module, described in core.py. */
PyObject *split(PyObject *module, PyObject *request);
PyObject *programs_of(PyObject *module, PyObject *request);
PyObject *accept_all(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

#endif
