/* services.filtering._core: the operations of bitset.py, and `match`. */

#include "core.h"

#define FAST(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef methods[] = {
    {"paint", FAST(masks_paint), METH_FASTCALL, NULL},
    {"flipped", FAST(masks_flipped), METH_FASTCALL, NULL},
    {"union", masks_union, METH_O, NULL},
    {"meet", masks_meet, METH_O, NULL},
    {"weight", masks_weight, METH_O, NULL},
    {"pick", FAST(masks_pick), METH_FASTCALL, NULL},
    {"match", FAST(match), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_core", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit__core(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module && make_masks(module) == 0 && find_types() == 0)
        return module;
    Py_XDECREF(module);
    return NULL;
}
