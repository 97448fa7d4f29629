/* The usual batch decided at once: every event plain, new, and of a program that accepts it.

   With the same result as the decision of intake.py, which is asked about every other batch. Two buffers are filled, and
   one object is made per event: its id in the window. */

#include "events.h"

#define KNOWN 8 /* programs of a batch that are found without a dictionary */
#define TAG 0x0A /* field 1, length-delimited */

typedef struct {
    char *at;
    Py_ssize_t size, room;
} Buffer;

static int put(Buffer *buffer, Bytes content)
{
    Py_ssize_t size = size_of(content);
    if (buffer->size + size > buffer->room) {
        Py_ssize_t room = 2 * (buffer->size + size);
        char *grown = PyMem_Realloc(buffer->at, room);
        if (!grown) {
            PyErr_NoMemory();
            return 0;
        }
        buffer->at = grown;
        buffer->room = room;
    }
    if (size)
        memcpy(buffer->at + buffer->size, content.at, size);
    buffer->size += size;
    return 1;
}

static int put_prefix(Buffer *buffer, uint64_t size)
{
    uint8_t prefix[11] = {TAG}, *at = prefix + 1;
    for (; size > 0x7F; size >>= 7)
        *at++ = (uint8_t)(size & 0x7F) | 0x80;
    *at++ = (uint8_t)size;
    return put(buffer, (Bytes){.at = prefix, .end = at});
}

/* What an accepting program means for its events; borrowed from the verdicts. */
typedef struct {
    Bytes name, checksum, stamp;
    PyObject *ends, *templates;
} Terms;

typedef struct {
    PyObject *verdicts, *new_ids, *before, *batch, *is_robot;
    Bytes reception;
    double late_before;
    Buffer payload, answer;
    PyObject *message_ids;
    Terms known[KNOWN];
    int knows, next;
    Bytes user_agent; /* of the event before */
    int robot;
} Batch;

/* The terms of a program; NULL where it does not accept. */
static const Terms *terms_of(Batch *batch, Bytes name)
{
    for (int i = 0; i < batch->knows; i++)
        if (same(batch->known[i].name, name))
            return &batch->known[i];
    PyObject *program_id = bytes_of(name);
    PyObject *verdict = program_id ? PyDict_GetItemWithError(batch->verdicts, program_id) : NULL;
    Py_XDECREF(program_id);
    PyObject *checksum, *stamp;
    Terms terms = {.name = name};
    if (!verdict || !PyArg_ParseTuple(verdict, "SSO!O!", &checksum, &stamp, &PyList_Type, &terms.ends, &PyList_Type,
                                      &terms.templates))
        return NULL;
    terms.checksum = content_of(checksum);
    terms.stamp = content_of(stamp);
    int slot = batch->next++ % KNOWN;
    if (batch->knows < KNOWN)
        batch->knows++;
    batch->known[slot] = terms;
    return &batch->known[slot];
}

/* 1 for a robot, 0 for none, -1 with an error set. */
static int robot(Batch *batch, Bytes user_agent)
{
    if (batch->robot < 0 || !same(user_agent, batch->user_agent)) {
        PyObject *text = bytes_of(user_agent);
        PyObject *answer = text ? PyObject_CallOneArg(batch->is_robot, text) : NULL;
        batch->robot = answer ? PyObject_IsTrue(answer) : -1;
        batch->user_agent = user_agent;
        Py_XDECREF(answer);
        Py_XDECREF(text);
    }
    return batch->robot;
}

/* Whether an id is new; it is not from then on. */
static int enter(Batch *batch, PyObject *message_id)
{
    return PyDict_Contains(batch->new_ids, message_id) == 0 && PyDict_Contains(batch->before, message_id) == 0
        && PyList_Append(batch->message_ids, message_id) == 0
        && PyDict_SetItem(batch->new_ids, message_id, batch->batch) == 0;
}

static int accept_one(Batch *batch, Bytes body, const Event *event)
{
    const Terms *terms = terms_of(batch, event->texts[PROGRAM_ID]);
    Bytes checksum = event->texts[CHECKSUM], name = event->texts[MESSAGE_ID];
    if (!terms || (size_of(terms->checksum) && size_of(checksum) && !same(checksum, terms->checksum)))
        return 0;
    int is_robot = robot(batch, event->texts[USER_AGENT]);
    if (is_robot < 0)
        return 0;
    int late = event->seconds > 0 && (double)event->seconds < batch->late_before;
    PyObject *end = PyList_GetItem(terms->ends, is_robot + 2 * late);
    PyObject *template = PyList_GetItem(terms->templates, size_of(name));
    PyObject *message_id = end && template ? bytes_of(name) : NULL;
    if (!message_id)
        return 0;
    Py_ssize_t size = size_of(body) + size_of(batch->reception) + size_of(terms->stamp) + PyBytes_GET_SIZE(end);
    int accepted = enter(batch, message_id) && put_prefix(&batch->payload, size) && put(&batch->payload, body)
        && put(&batch->payload, batch->reception) && put(&batch->payload, terms->stamp)
        && put(&batch->payload, content_of(end)) && put(&batch->answer, content_of(template))
        && put(&batch->answer, name);
    Py_DECREF(message_id);
    return accepted;
}

/* Takes the ids out of the window again, and keeps the error that is set, if one is. */
static void take_back(Batch *batch)
{
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(batch->message_ids); i++)
        if (PyDict_DelItem(batch->new_ids, PyList_GET_ITEM(batch->message_ids, i)) < 0)
            PyErr_Clear();
    PyErr_Restore(kind, error, trace);
}

/* Empty for a buffer that nothing was put into, which has no address. */
static PyObject *bytes_in(const Buffer *buffer) { return PyBytes_FromStringAndSize(buffer->at, buffer->size); }

static PyObject *decided(const Batch *batch)
{
    return Py_BuildValue("(NNO)", bytes_in(&batch->answer), bytes_in(&batch->payload), batch->message_ids);
}

PyObject *accept_all(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    (void)module;
    if (count != 8 || !PyBytes_Check(arguments[0]) || !PyDict_Check(arguments[1]) || !PyBytes_Check(arguments[2])
        || !PyDict_Check(arguments[3]) || !PyDict_Check(arguments[4])) {
        PyErr_SetString(PyExc_TypeError, "the arguments are those that core.py describes");
        return NULL;
    }
    Batch batch = {.verdicts = arguments[1], .new_ids = arguments[3], .before = arguments[4], .batch = arguments[5],
                   .is_robot = arguments[7], .reception = content_of(arguments[2]), .robot = -1,
                   .late_before = PyFloat_AsDouble(arguments[6]), .message_ids = PyList_New(0)};
    if (!batch.message_ids || PyErr_Occurred()) {
        Py_XDECREF(batch.message_ids);
        return NULL;
    }
    Bytes rest = content_of(arguments[0]), body;
    Event event;
    int accepted = 1;
    while (accepted && rest.at < rest.end)
        accepted = take_event(&rest, &body) && is_plain(body, &event) && accept_one(&batch, body, &event);
    PyObject *result = accepted ? decided(&batch) : NULL;
    if (!result)
        take_back(&batch);
    if (!result && !PyErr_Occurred())
        result = Py_NewRef(Py_None);
    PyMem_Free(batch.payload.at);
    PyMem_Free(batch.answer.at);
    Py_DECREF(batch.message_ids);
    return result;
}
