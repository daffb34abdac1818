/* The Python module servefit.backends.pipelines._kernel: takes the texts of rows apart, looks them up, and counts their
 * terms. Texts are bytes of UTF-8. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"
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
    Py_ssize_t least, shortest, longest, width;
    term_options o = {0};
    if (!PyArg_ParseTupleAndKeywords(arguments, names, "$snnnnOpO!", known, &unit, &least, &shortest, &longest, &width,
                                     &vocabulary, &o.alternating, &PyTuple_Type, &left_out))
        return -1;
    while (o.unit < 3 && strcmp(units[o.unit], unit)) o.unit++;
    o.hashed = vocabulary == Py_None;
    o.least_letters = (uint32_t)least, o.shortest = (uint32_t)shortest, o.longest = (uint32_t)longest, o.width = (uint32_t)width;
    if (o.unit == 3 || least < 0 || least > INT32_MAX || shortest < 1 || longest < shortest || longest > INT32_MAX ||
        width < 1 || width > INT32_MAX || !(o.hashed || PyDict_Check(vocabulary))) {
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
    const char *becomes, *kinds;
    Py_ssize_t code, size, count;
    if (!PyArg_ParseTuple(arguments, "ny#y#", &code, &becomes, &size, &kinds, &count)) return NULL;
    Py_ssize_t letters = 0;
    for (Py_ssize_t n = 0; n < size; n++) letters += (becomes[n] & 0xc0) != 0x80;
    if (!self->t || self->counting) return PyErr_Format(PyExc_RuntimeError, "the terms are not there, or are counted");
    if (size > MAX_BYTES || count > MAX_LETTERS || letters != count || (size && (becomes[0] & 0xc0) == 0x80))
        return PyErr_Format(PyExc_ValueError, "a letter becomes %d letters of %d bytes at most", MAX_LETTERS, MAX_BYTES);
    if (code < 0 || code > 0x10ffff) return PyErr_Format(PyExc_ValueError, "there is no letter %zd", code);
    if (terms_learn(self->t, (uint32_t)code, becomes, (size_t)size, (const uint8_t *)kinds, (size_t)count) < 0) return PyErr_NoMemory();
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
    "servefit.backends.pipelines._kernel.TermCounter", sizeof(TermCounter), 0, Py_TPFLAGS_DEFAULT, terms_slots,
};

typedef struct {
    PyObject_HEAD
    table t;
} CategoryTable;

static int categories_init(CategoryTable *self, PyObject *arguments, PyObject *names) {
    static char *known[] = {"categories", NULL};
    PyObject *categories;
    if (!PyArg_ParseTupleAndKeywords(arguments, names, "O!", known, &PyList_Type, &categories)) return -1;
    if (self->t.count) {
        PyErr_SetString(PyExc_RuntimeError, "categories are made once");
        return -1;
    }
    for (Py_ssize_t n = 0; n < PyList_Size(categories); n++) {
        char *bytes;
        Py_ssize_t size;
        if (PyBytes_AsStringAndSize(PyList_GetItem(categories, n), &bytes, &size) < 0) return -1;
        if (table_add(&self->t, bytes, (size_t)size, n) < 0) {
            PyErr_NoMemory();
            return -1;
        }
    }
    return 0;
}

static void categories_dealloc(CategoryTable *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    table_clear(&self->t);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *look_up(CategoryTable *self, PyObject *texts) {
    if (!PyList_Check(texts)) return PyErr_Format(PyExc_TypeError, "texts are a list of bytes");
    const Py_ssize_t count = PyList_Size(texts);
    PyObject *answer = PyBytes_FromStringAndSize(NULL, count * (Py_ssize_t)sizeof(int64_t));
    if (!answer) return NULL;
    int64_t *numbers = (int64_t *)PyBytes_AsString(answer);
    for (Py_ssize_t n = 0; n < count; n++) {
        char *bytes;
        Py_ssize_t size;
        if (PyBytes_AsStringAndSize(PyList_GetItem(texts, n), &bytes, &size) < 0) {
            Py_DECREF(answer);
            return NULL;
        }
        const table_entry *e = table_look_up(&self->t, bytes, (size_t)size);
        numbers[n] = e ? e->number : -1;
    }
    return answer;
}

static PyMethodDef categories_methods[] = {
    {"look_up", (PyCFunction)look_up, METH_O,
     "look_up(texts): the number of each as bytes of int64, -1 for one that is none of the categories"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot categories_slots[] = {
    {Py_tp_doc, "CategoryTable(categories): a list of bytes, of which each has its place as its number"},
    {Py_tp_init, categories_init},
    {Py_tp_dealloc, categories_dealloc},
    {Py_tp_methods, categories_methods},
    {0, NULL},
};

static PyType_Spec categories_spec = {
    "servefit.backends.pipelines._kernel.CategoryTable", sizeof(CategoryTable), 0, Py_TPFLAGS_DEFAULT, categories_slots,
};

#define END_OF_TEXT 0xff /* which UTF-8 does not have */

/* Puts the texts of one row, which are numbers of a byte each, into the lists of columns; 0 where there are not as many,
 * or one is no byte, and -1 with an exception. */
static int take_texts(const double *values, size_t room, double said, char *bytes, PyObject *columns, Py_ssize_t row) {
    const Py_ssize_t count = PyList_Size(columns);
    if (!(said >= 0 && said <= (double)room)) return 0;
    const size_t size = (size_t)said;
    Py_ssize_t column = 0;
    size_t begin = 0;
    for (size_t n = 0; n < size; n++) {
        if (!(values[n] >= 0 && values[n] <= 255)) return 0;
        bytes[n] = (char)(uint8_t)values[n];
        if ((uint8_t)bytes[n] != END_OF_TEXT) continue;
        if (column == count) return 0;
        PyObject *text = PyBytes_FromStringAndSize(bytes + begin, (Py_ssize_t)(n - begin));
        if (!text || PyList_SetItem(PyList_GetItem(columns, column), row, text) < 0) return -1;
        column++, begin = n + 1;
    }
    return column == count;
}

static PyObject *texts(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *source, *columns = NULL;
    Py_ssize_t size_column, begin, count;
    Py_buffer rows;
    if (!PyArg_ParseTuple(arguments, "Onnn", &source, &size_column, &begin, &count)) return NULL;
    if (PyObject_GetBuffer(source, &rows, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) return NULL;
    char *bytes = NULL;
    int taken = -1;
    if (rows.ndim != 2 || !rows.format || strcmp(rows.format, "d") || size_column < 0 || size_column >= rows.shape[1] ||
        begin < 0 || begin > rows.shape[1] || count < 0) {
        PyErr_SetString(PyExc_ValueError, "rows of float64 with their texts at the end were expected");
    } else if (!(columns = PyList_New(count)) || !(bytes = malloc((size_t)(rows.shape[1] - begin) + 1))) {
        PyErr_NoMemory();
    } else {
        taken = 1;
        for (Py_ssize_t n = 0; n < count && taken > 0; n++) {
            PyObject *column = PyList_New(rows.shape[0]);
            if (!column || PyList_SetItem(columns, n, column) < 0) taken = -1;
        }
        for (Py_ssize_t n = 0; n < rows.shape[0] && taken > 0; n++) {
            const double *row = (const double *)rows.buf + n * rows.shape[1];
            taken = take_texts(row + begin, (size_t)(rows.shape[1] - begin), row[size_column], bytes, columns, n);
        }
    }
    free(bytes);
    PyBuffer_Release(&rows);
    if (taken > 0) return columns;
    Py_XDECREF(columns);
    if (taken < 0) return NULL;
    Py_RETURN_NONE;
}

static PyObject *murmur(PyObject *Py_UNUSED(module), PyObject *term) {
    char *bytes;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(term, &bytes, &size) < 0) return NULL;
    return PyLong_FromLong((int32_t)murmur_hash(bytes, (size_t)size));
}

static PyMethodDef module_functions[] = {
    {"texts", texts, METH_VARARGS,
     "texts(rows, size_column, begin, count): the texts of rows of float64 as a list for each of `count` columns; None where "
     "a row has not as many, or has other numbers than bytes"},
    {"murmur", murmur, METH_O, "murmur(term): MurmurHash3 of 32 bits, signed"},
    {NULL, NULL, 0, NULL},
};

static int module_exec(PyObject *module) {
    PyObject *counter = PyType_FromSpec(&terms_spec), *categories = PyType_FromSpec(&categories_spec);
    const int failed = !counter || !categories || PyModule_AddObjectRef(module, "TermCounter", counter) < 0 ||
                       PyModule_AddObjectRef(module, "CategoryTable", categories) < 0 ||
                       PyModule_AddIntConstant(module, "OTHER", OTHER) < 0 ||
                       PyModule_AddIntConstant(module, "PART_OF_WORD", PART_OF_WORD) < 0 ||
                       PyModule_AddIntConstant(module, "WHITE", WHITE) < 0 ||
                       PyModule_AddIntConstant(module, "MAX_LETTERS", MAX_LETTERS) < 0 ||
                       PyModule_AddIntConstant(module, "MAX_BYTES", MAX_BYTES) < 0;
    Py_XDECREF(counter), Py_XDECREF(categories);
    return failed ? -1 : 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, "_kernel", "Texts of rows: taken apart, looked up, and their terms counted.", 0, module_functions, module_slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernel(void) { return PyModuleDef_Init(&module_definition); }
