/* The module `services.tracking._core`. */

#include "events.h"

static PyMethodDef methods[] = {
    {"split", split, METH_O, NULL},
    {"programs_of", programs_of, METH_O, NULL},
    {"accept_all", (PyCFunction)(void (*)(void))accept_all, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT, .m_name = "_core", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit__core(void) { return PyModule_Create(&definition); }
