/* The module `broker_bridge._core`: usual MESSAGE frames read off a buffer, see frame_core.py.

   What is understood here is understood exactly as frame_reader.py does. Reading stops, and is left to it, at whatever is
   not there as a whole and at whatever is not usual: another command, a carriage return, a byte that is not ASCII, a line
   without a colon, an escape that STOMP 1.2 does not know, an odd content-length, and in a text of ActiveMQ a NUL that
   stands before anything but the next MESSAGE frame. Nothing is ever read beyond the end. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#define KEPT_NAMES 32
#define LONGEST_KEPT_NAME 64
#define LENGTH_DIGITS 9

typedef struct {
    const char *at, *end;
} Text;

/* Everything that reads off a text answers one of these. */
enum { FAILED = -1, LEFT, TAKEN };

static const char COMMAND[] = "MESSAGE\n", NEXT[] = "\nMESSAGE\n", LENGTH[] = "content-length";
static PyObject *command;
/* The name of the header in each line of the frame read last: the next one mostly has the same. */
static PyObject *kept_names[KEPT_NAMES];

static inline Py_ssize_t size_of(Text text) { return text.end - text.at; }

static inline const char *find(Text text, char wanted)
{
    return text.at < text.end ? memchr(text.at, wanted, size_of(text)) : NULL;
}

static inline int begins_with(Text text, const char *beginning, Py_ssize_t size)
{
    return size_of(text) >= size && !memcmp(text.at, beginning, size);
}

static int is_plain(Text line)
{
    unsigned char high = 0, returns = 0;
    for (const char *at = line.at; at < line.end; at++) {
        high |= (unsigned char)*at;
        returns |= *at == '\r';
    }
    return high < 0x80 && !returns;
}

static int unescape(Text raw, PyObject **text)
{
    Py_ssize_t size = size_of(raw);
    for (const char *at = raw.at; (at = find((Text){at, raw.end}, '\\')); at += 2, size--)
        if (at + 1 == raw.end || !strchr("cnr\\", at[1]) || !at[1])
            return LEFT;
    if (!(*text = PyUnicode_New(size, 127)))
        return FAILED;
    char *to = (char *)PyUnicode_1BYTE_DATA(*text);
    if (size == size_of(raw)) {
        if (size)
            memcpy(to, raw.at, size);
        return TAKEN;
    }
    for (const char *at = raw.at; at < raw.end; at++) {
        if (*at != '\\')
            *to++ = *at;
        else
            *to++ = *++at == 'c' ? ':' : *at == 'n' ? '\n' : *at == 'r' ? '\r' : '\\';
    }
    return TAKEN;
}

static int name_of(Text raw, int line, PyObject **name)
{
    Py_ssize_t size = size_of(raw);
    PyObject *kept = line < KEPT_NAMES ? kept_names[line] : NULL;
    if (kept && PyUnicode_GET_LENGTH(kept) == size && !memcmp(PyUnicode_1BYTE_DATA(kept), raw.at, size)) {
        *name = Py_NewRef(kept);
        return TAKEN;
    }
    int answer = unescape(raw, name);
    /* Not one that held escapes: its text is not what stands in the frame. */
    if (answer == TAKEN && line < KEPT_NAMES && size <= LONGEST_KEPT_NAME && PyUnicode_GET_LENGTH(*name) == size)
        Py_XSETREF(kept_names[line], Py_NewRef(*name));
    return answer;
}

static int take_length(Text digits, Py_ssize_t *length)
{
    if (size_of(digits) < 1 || size_of(digits) > LENGTH_DIGITS)
        return LEFT;
    *length = 0;
    for (const char *at = digits.at; at < digits.end; at++) {
        if (*at < '0' || *at > '9')
            return LEFT;
        *length = *length * 10 + (*at - '0');
    }
    return TAKEN;
}

/* The first of repeated headers counts. */
static int take_header(Text line, int number, PyObject *headers, Py_ssize_t *length)
{
    PyObject *name = NULL, *value = NULL;
    const char *colon = find(line, ':');
    if (!colon || !is_plain(line))
        return LEFT;
    Text raw_name = {line.at, colon}, raw_value = {colon + 1, line.end};
    if (*length < 0 && size_of(raw_name) == sizeof LENGTH - 1 && !memcmp(raw_name.at, LENGTH, sizeof LENGTH - 1) &&
        take_length(raw_value, length) == LEFT)
        return LEFT;
    int answer = name_of(raw_name, number, &name);
    if (answer == TAKEN)
        answer = unescape(raw_value, &value);
    if (answer == TAKEN && !PyDict_SetDefault(headers, name, value))
        answer = FAILED;
    Py_XDECREF(name);
    Py_XDECREF(value);
    return answer;
}

/* Takes the lines up to the empty one off the rest. */
static int take_headers(Text *rest, PyObject *headers, Py_ssize_t *length)
{
    for (int number = 0;; number++) {
        const char *end = find(*rest, '\n');
        if (!end)
            return LEFT;
        Text line = {rest->at, end};
        rest->at = end + 1;
        if (line.at == line.end)
            return TAKEN;
        int answer = take_header(line, number, headers, length);
        if (answer != TAKEN)
            return answer;
    }
}

static int take_body(Text *rest, Py_ssize_t length, int is_activemq, PyObject **body)
{
    const char *end = length < 0 ? find(*rest, '\0') : size_of(*rest) > length ? rest->at + length : NULL;
    if (!end)
        return LEFT;
    Text following = {end + 1, rest->end};
    if (length < 0 && is_activemq && !begins_with(following, NEXT, sizeof NEXT - 1))
        return LEFT;
    *body = PyBytes_FromStringAndSize(rest->at, end - rest->at);
    rest->at = following.at;
    return *body ? TAKEN : FAILED;
}

static int take_message(Text *rest, int is_activemq, PyObject **frame)
{
    Text left = *rest;
    Py_ssize_t length = -1;
    PyObject *body = NULL;
    while (left.at < left.end && (*left.at == '\r' || *left.at == '\n'))
        left.at++;
    if (!begins_with(left, COMMAND, sizeof COMMAND - 1))
        return LEFT;
    left.at += sizeof COMMAND - 1;
    PyObject *headers = PyDict_New();
    if (!headers)
        return FAILED;
    int answer = take_headers(&left, headers, &length);
    if (answer == TAKEN)
        answer = take_body(&left, length, is_activemq, &body);
    if (answer == TAKEN && !(*frame = PyTuple_Pack(3, command, headers, body)))
        answer = FAILED;
    Py_DECREF(headers);
    Py_XDECREF(body);
    if (answer == TAKEN)
        *rest = left;
    return answer;
}

static int take_messages(Text *rest, int is_activemq, PyObject *frames)
{
    PyObject *frame = NULL;
    int answer;
    while ((answer = take_message(rest, is_activemq, &frame)) == TAKEN) {
        int appended = PyList_Append(frames, frame);
        Py_DECREF(frame);
        if (appended < 0)
            return FAILED;
    }
    return answer;
}

static PyObject *read_messages(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    Py_buffer view;
    (void)module;
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "read_messages takes a buffer, a position and whether it is ActiveMQ's");
        return NULL;
    }
    Py_ssize_t position = PyLong_AsSsize_t(arguments[1]);
    int is_activemq = PyObject_IsTrue(arguments[2]);
    if (PyErr_Occurred() || PyObject_GetBuffer(arguments[0], &view, PyBUF_SIMPLE) < 0)
        return NULL;
    PyObject *frames = NULL, *answer = NULL;
    if (position < 0 || position > view.len)
        PyErr_Format(PyExc_ValueError, "there is no position %zd in a buffer of %zd bytes", position, view.len);
    else if ((frames = PyList_New(0))) {
        const char *start = view.buf;
        Text rest = {start + position, start + view.len};
        if (take_messages(&rest, is_activemq, frames) != FAILED)
            answer = Py_BuildValue("(On)", frames, (Py_ssize_t)(rest.at - start));
        Py_DECREF(frames);
    }
    PyBuffer_Release(&view);
    return answer;
}

static PyMethodDef methods[] = {
    {"read_messages", (PyCFunction)(void (*)(void))read_messages, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT, .m_name = "_core", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit__core(void)
{
    if (!(command = PyUnicode_InternFromString("MESSAGE")))
        return NULL;
    return PyModule_Create(&definition);
}
