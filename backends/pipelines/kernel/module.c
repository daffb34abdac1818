/* The Python module servefit.backends.pipelines._terms: counts terms of texts that are bytes of UTF-8. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <stdlib.h>
#include <string.h>

#include "terms.h"

typedef struct {
    PyObject_HEAD
    terms *t;
    int counting; /* read and written under the lock of the interpreter */
} TermCounter;

static int add_terms(terms *t, PyObject *vocabulary, uint32_t width) {
    PyObject *term, *number;
    Py_ssize_t place = 0, size;
    while (PyDict_Next(vocabulary, &place, &term, &number)) {
        const char *bytes = PyUnicode_AsUTF8AndSize(term, &size);
        const unsigned long column = bytes ? PyLong_AsUnsignedLong(number) : 0;
        if (PyErr_Occurred()) return -1;
        if (column >= width) {
            PyErr_Format(PyExc_ValueError, "column %lu is beyond the width of %u", column, width);
            return -1;
        }
        if (terms_add(t, bytes, (size_t)size, (uint32_t)column) < 0) {
            PyErr_NoMemory();
            return -1;
        }
    }
    return 0;
}

static int leave_out(terms *t, PyObject *words) {
    const Py_ssize_t count = PyTuple_Size(words);
    for (Py_ssize_t n = 0; n < count; n++) {
        Py_ssize_t size;
        const char *bytes = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(words, n), &size);
        if (!bytes) return -1;
        if (terms_leave_out(t, bytes, (size_t)size) < 0) {
            PyErr_NoMemory();
            return -1;
        }
    }
    return count < 0 ? -1 : 0;
}

static int terms_init(TermCounter *self, PyObject *arguments, PyObject *names) {
    static char *known[] = {"unit", "least_letters", "shortest", "longest", "width", "vocabulary", "alternating", "left_out",
                            NULL};
    static const char *units[] = {"word", "char", "char_wb"};
    const char *unit;
    PyObject *vocabulary, *left_out;
    term_options o = {0};
    if (!PyArg_ParseTupleAndKeywords(arguments, names, "$sIIIIOpO!", known, &unit, &o.least_letters, &o.shortest, &o.longest,
                                     &o.width, &vocabulary, &o.alternating, &PyTuple_Type, &left_out))
        return -1;
    while (o.unit < 3 && strcmp(units[o.unit], unit)) o.unit++;
    o.hashed = vocabulary == Py_None;
    if (o.unit == 3 || !o.width || o.width > INT32_MAX || !o.shortest || o.longest < o.shortest ||
        !(o.hashed || PyDict_Check(vocabulary))) {
        PyErr_SetString(PyExc_ValueError, "there are no terms of this kind");
        return -1;
    }
    if (self->t) {
        PyErr_SetString(PyExc_RuntimeError, "terms are made once");
        return -1;
    }
    self->t = terms_new(&o);
    if (!self->t) {
        PyErr_NoMemory();
        return -1;
    }
    return (!o.hashed && add_terms(self->t, vocabulary, o.width) < 0) || leave_out(self->t, left_out) < 0 ? -1 : 0;
}

static void terms_dealloc(TermCounter *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    terms_free(self->t);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *learn(TermCounter *self, PyObject *arguments) {
    unsigned int code;
    const char *becomes, *kinds;
    Py_ssize_t size, count;
    if (!PyArg_ParseTuple(arguments, "Iy#y#", &code, &becomes, &size, &kinds, &count)) return NULL;
    Py_ssize_t letters = 0;
    for (Py_ssize_t n = 0; n < size; n++) letters += (becomes[n] & 0xc0) != 0x80;
    if (!self->t || self->counting) return PyErr_Format(PyExc_RuntimeError, "the terms are not there, or are counted");
    if (size > MOST_BYTES || count > MOST_LETTERS || letters != count || (size && (becomes[0] & 0xc0) == 0x80))
        return PyErr_Format(PyExc_ValueError, "a letter becomes %d letters of %d bytes at most", MOST_LETTERS, MOST_BYTES);
    if (terms_learn(self->t, code, becomes, (size_t)size, (const uint8_t *)kinds, (size_t)count) < 0) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

/* What was counted in all texts, as arrays that NumPy reads: rows and columns (int64), and values (float64). */
typedef struct { int64_t *rows, *columns; double *values; size_t count, room; } result;

static int append(result *r, int64_t row, const counted_term *counted, size_t count) {
    if (r->count + count > r->room) {
        const size_t room = 2 * (r->count + count) + 64;
        int64_t *rows = realloc(r->rows, room * sizeof *rows);
        if (rows) r->rows = rows;
        int64_t *columns = realloc(r->columns, room * sizeof *columns);
        if (columns) r->columns = columns;
        double *values = realloc(r->values, room * sizeof *values);
        if (values) r->values = values;
        if (!rows || !columns || !values) return -1;
        r->room = room;
    }
    for (size_t n = 0; n < count; n++, r->count++)
        r->rows[r->count] = row, r->columns[r->count] = counted[n].column, r->values[r->count] = counted[n].value;
    return 0;
}

static int count_one(TermCounter *self, PyObject *text, int64_t row, result *r, PyObject *unread) {
    char *bytes;
    Py_ssize_t size;
    size_t count;
    int is_unread;
    if (PyBytes_AsStringAndSize(text, &bytes, &size) < 0) return -1;
    if (terms_count(self->t, bytes, (size_t)size, &is_unread) < 0) return PyErr_NoMemory(), -1;
    if (is_unread) {
        PyObject *number = PyLong_FromLongLong(row);
        const int failed = !number || PyList_Append(unread, number) < 0;
        Py_XDECREF(number);
        return failed ? -1 : 0;
    }
    const counted_term *counted = terms_counted(self->t, &count);
    return append(r, row, counted, count) < 0 ? (PyErr_NoMemory(), -1) : 0;
}

static PyObject *count(TermCounter *self, PyObject *texts) {
    const Py_ssize_t rows = PyList_Check(texts) ? PyList_Size(texts) : -1;
    if (rows < 0) return PyErr_Format(PyExc_TypeError, "texts are a list of bytes");
    if (!self->t || self->counting) return PyErr_Format(PyExc_RuntimeError, "the terms are not there, or are counted");
    PyObject *unread = PyList_New(0), *answer = NULL;
    result r = {0};
    int failed = !unread;
    self->counting = 1;
    for (Py_ssize_t row = 0; !failed && row < rows && row < PyList_Size(texts); row++)
        failed = count_one(self, PyList_GetItem(texts, row), row, &r, unread) < 0;
    self->counting = 0;
    if (!failed)
        answer = Py_BuildValue("y#y#y#O", r.rows ? (char *)r.rows : "", (Py_ssize_t)(r.count * sizeof *r.rows),
                               r.rows ? (char *)r.columns : "", (Py_ssize_t)(r.count * sizeof *r.columns),
                               r.rows ? (char *)r.values : "", (Py_ssize_t)(r.count * sizeof *r.values), unread);
    Py_XDECREF(unread);
    free(r.rows), free(r.columns), free(r.values);
    return answer;
}

static PyMethodDef terms_methods[] = {
    {"learn", (PyCFunction)learn, METH_VARARGS,
     "learn(code, becomes, kinds): what the letter becomes in a prepared text, UTF-8, and of what kind that is"},
    {"count", (PyCFunction)count, METH_O,
     "count(texts): rows and columns (int64) and values (float64) as bytes, and the rows that have letters not learned"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot terms_slots[] = {
    {Py_tp_doc, "TermCounter(*, unit, least_letters, shortest, longest, width, vocabulary, alternating, left_out): counts terms; "
                "without a vocabulary by their hash"},
    {Py_tp_init, terms_init},
    {Py_tp_dealloc, terms_dealloc},
    {Py_tp_methods, terms_methods},
    {0, NULL},
};

static PyType_Spec terms_spec = {
    "servefit.backends.pipelines._terms.TermCounter", sizeof(TermCounter), 0, Py_TPFLAGS_DEFAULT, terms_slots,
};

static PyObject *murmur(PyObject *Py_UNUSED(module), PyObject *term) {
    char *bytes;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(term, &bytes, &size) < 0) return NULL;
    return PyLong_FromLong((int32_t)murmur_hash(bytes, (size_t)size));
}

static PyMethodDef module_functions[] = {
    {"murmur", murmur, METH_O, "murmur(term): MurmurHash3 of 32 bits, signed"},
    {NULL, NULL, 0, NULL},
};

static int module_exec(PyObject *module) {
    PyObject *type = PyType_FromSpec(&terms_spec);
    if (!type) return -1;
    const int failed = PyModule_AddObjectRef(module, "TermCounter", type) < 0 ||
                       PyModule_AddIntConstant(module, "OTHER", OTHER) < 0 ||
                       PyModule_AddIntConstant(module, "PART_OF_WORD", PART_OF_WORD) < 0 ||
                       PyModule_AddIntConstant(module, "WHITE", WHITE) < 0 ||
                       PyModule_AddIntConstant(module, "MOST_LETTERS", MOST_LETTERS) < 0 ||
                       PyModule_AddIntConstant(module, "MOST_BYTES", MOST_BYTES) < 0;
    Py_DECREF(type);
    return failed ? -1 : 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, "_terms", "Counts the terms of texts.", 0, module_functions, module_slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__terms(void) { return PyModuleDef_Init(&module_definition); }
