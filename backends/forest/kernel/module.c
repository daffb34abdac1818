/* The Python module servefit.backends.forest._kernel: opens forests and predicts with them, by the buffer protocol. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include "forest.h"

typedef struct {
    PyObject_HEAD
    Py_buffer file; /* what the forest lies in; kept until the end */
    forest f;
    predictor *p;
    int opened;     /* not reset: a forest is opened once */
    int predicting; /* read and written under the lock of the interpreter, which predicting lets go of */
} Forest;

static int forest_init(Forest *self, PyObject *arguments, PyObject *names) {
    static char *known[] = {"file", "threads", "instructions", NULL};
    PyObject *file;
    int threads = 1;
    const char *instructions = NULL;
    if (!PyArg_ParseTupleAndKeywords(arguments, names, "O|$iz", known, &file, &threads, &instructions)) return -1;
    if (threads < 1) {
        PyErr_SetString(PyExc_ValueError, "it takes one thread at least");
        return -1;
    }
    if (self->opened) {
        PyErr_SetString(PyExc_RuntimeError, "a forest is opened once");
        return -1;
    }
    self->opened = 1;
    if (PyObject_GetBuffer(file, &self->file, PyBUF_SIMPLE) < 0) return -1;
    const char *wrong = !self->file.readonly ? "it could be written to after it was checked"
                        : (uintptr_t)self->file.buf % 64 ? "it does not begin at a multiple of 64 bytes"
                                                       : forest_open(&self->f, self->file.buf, (size_t)self->file.len);
    if (wrong) {
        PyBuffer_Release(&self->file);
        PyErr_SetString(PyExc_ValueError, wrong);
        return -1;
    }
    self->p = predictor_new(&self->f, instructions, threads);
    if (self->p) return 0;
    PyBuffer_Release(&self->file);
    PyErr_Format(PyExc_OSError, "%s does not run here, or there is no memory for %d threads",
                 instructions ? instructions : "the kernel", threads);
    return -1;
}

static PyObject *forest_close(Forest *self, PyObject *Py_UNUSED(none)) {
    if (self->predicting) return PyErr_Format(PyExc_RuntimeError, "another thread is predicting with the forest");
    predictor_free(self->p);
    self->p = NULL;
    if (self->file.obj) PyBuffer_Release(&self->file);
    Py_RETURN_NONE;
}

static void forest_dealloc(Forest *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    predictor_free(self->p);
    if (self->file.obj) PyBuffer_Release(&self->file);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *forest_predict(Forest *self, PyObject *const *arguments, Py_ssize_t count) {
    Py_buffer rows, out;
    if (count != 2) return PyErr_Format(PyExc_TypeError, "predict takes rows and room for predictions");
    if (!self->p) return PyErr_Format(PyExc_ValueError, "the forest is closed");
    if (self->predicting) return PyErr_Format(PyExc_RuntimeError, "another thread is predicting with the forest");
    if (PyObject_GetBuffer(arguments[0], &rows, PyBUF_SIMPLE) < 0) return NULL;
    if (PyObject_GetBuffer(arguments[1], &out, PyBUF_WRITABLE) < 0) {
        PyBuffer_Release(&rows);
        return NULL;
    }
    const size_t bytes = row_bytes(&self->f), out_bytes = sizeof(float) * self->f.outputs;
    const size_t n = (size_t)rows.len / bytes;
    const int fit = n * bytes == (size_t)rows.len && n * out_bytes == (size_t)out.len &&
                    (uintptr_t)rows.buf % (self->f.wide_values ? sizeof(double) : sizeof(float)) == 0 && (uintptr_t)out.buf % sizeof(float) == 0;
    if (fit) {
        self->predicting = 1;
        Py_BEGIN_ALLOW_THREADS
        predictor_run(self->p, rows.buf, n, out.buf);
        Py_END_ALLOW_THREADS
        self->predicting = 0;
    }
    PyBuffer_Release(&rows);
    PyBuffer_Release(&out);
    if (!fit)
        return PyErr_Format(PyExc_ValueError, "rows of %u %s values and room for %u of each were expected",
                            self->f.features, self->f.wide_values ? "float64" : "float32", self->f.outputs);
    Py_RETURN_NONE;
}

static PyObject *get_instructions(Forest *self, void *Py_UNUSED(closure)) {
    if (!self->p) Py_RETURN_NONE;
    return PyUnicode_FromString(predictor_instruction_set(self->p));
}

static PyObject *get_block_rows(Forest *self, void *Py_UNUSED(closure)) {
    return PyLong_FromUnsignedLong(self->p ? predictor_block_rows(self->p) : 0);
}

static PyMethodDef forest_methods[] = {
    {"predict", (PyCFunction)(void (*)(void))forest_predict, METH_FASTCALL,
     "predict(rows, out): predict rows, (n, features) float32 or float64, into (n, outputs) float32; both are buffers in C "
     "order"},
    {"close", (PyCFunction)forest_close, METH_NOARGS, "close(): end the threads and let go of the file"},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef forest_properties[] = {
    {"instructions", (getter)get_instructions, NULL, "the instruction set in use", NULL},
    {"block_rows", (getter)get_block_rows, NULL, "from how many rows on they are predicted in blocks", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot forest_slots[] = {
    {Py_tp_doc, "Forest(file, *, threads=1, instructions=None): open a compiled forest, a buffer aligned to 64 bytes"},
    {Py_tp_init, forest_init},
    {Py_tp_dealloc, forest_dealloc},
    {Py_tp_methods, forest_methods},
    {Py_tp_getset, forest_properties},
    {0, NULL},
};

static PyType_Spec forest_spec = {
    "servefit.backends.forest._kernel.Forest", sizeof(Forest), 0, Py_TPFLAGS_DEFAULT, forest_slots,
};

static PyObject *instruction_sets_here(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
    PyObject *names = PyList_New(0);
    for (const instruction_set *const *set = instruction_sets(); names && *set; set++) {
        if (!(*set)->runs_here()) continue;
        PyObject *name = PyUnicode_FromString((*set)->name);
        if (!name || PyList_Append(names, name) < 0) Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

static PyMethodDef module_functions[] = {
    {"instruction_sets", instruction_sets_here, METH_NOARGS, "instruction_sets(): those that run here, best first"},
    {NULL, NULL, 0, NULL},
};

static int module_exec(PyObject *module) {
    PyObject *type = PyType_FromSpec(&forest_spec);
    if (!type) return -1;
    const int failed = PyModule_AddObjectRef(module, "Forest", type) < 0 ||
                       PyModule_AddIntConstant(module, "FORMAT_VERSION", FOREST_VERSION) < 0;
    Py_DECREF(type);
    return failed ? -1 : 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, "_kernel", "The kernel that predicts compiled forests.", 0, module_functions, module_slots,
    NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernel(void) { return PyModuleDef_Init(&module_definition); }
