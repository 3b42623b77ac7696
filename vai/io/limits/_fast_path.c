/* Admission and settlement in their usual form: see fast_path.py, which says what is usual, and
 * shared.py, whose words and whose order of writes these are.
 *
 * Invariants: what is unusual is found before the first write of a lease, so the Python code can
 * begin anew. Between lock and unlock no Python code runs and nothing is allocated. The words are
 * volatile and are written by `put` alone, so the compiler keeps the order of the source, and a
 * process may be killed between any two writes.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>

/* The names and figures of layout.py, window.py and leases.py; a test compares them. */
enum { H_DIRTY = 6, H_LATEST, H_FREE, H_HIGH };
enum { R_EPOCH, R_RUNNING, R_SESSIONS, R_PAST_REQUESTS, R_PAST_TOKENS,
       R_REQUEST_LEVEL, R_TOKEN_LEVEL, R_LEVEL_AT, R_REQUEST_SLOTS };
enum { L_OWNER, L_GENERATION, L_KIND, L_ROWS, L_TOKENS, L_SLOT, L_SINCE, L_HEARTBEAT };
enum { MUTEX = 16, ROW_WORDS = 40, LEASE_WORDS = 8, ROW_BITS = 20, INDEX_BITS = 20 };
enum { REQUEST = 1, SLOTS = 13, SLOT_SECONDS = 5, MAX_PRINCIPALS = 3 };
#define R_TOKEN_SLOTS (R_REQUEST_SLOTS + SLOTS)
#define GENERATIONS (INT64_C(1) << 40)
#define MAX_TOKENS (INT64_C(1) << 40)
#define ROW_MASK ((INT64_C(1) << ROW_BITS) - 1)
#define INDEX_MASK ((INT64_C(1) << INDEX_BITS) - 1)

/* Sums and differences of a few figures below this one fit into a word. */
#define LARGE (INT64_C(1) << 60)

_Static_assert(sizeof(pthread_mutex_t) <= 64, "the layout reserves 64 bytes for the mutex");

static PyObject *deadline_passed; /* the name of RobustMutex.deadline_passed */

typedef struct {
  PyObject_HEAD
  Py_buffer view;
  volatile int64_t *words;
  pthread_mutex_t *mutex;
  int64_t count, rows, free, leases, lease_count, owner_at, owner;
  PyObject *cached;    /* CounterRows.cached */
  PyObject *robust;    /* the RobustMutex */
  PyObject *decision;  /* the type */
  PyObject *watch;     /* of a test, called before each write; else NULL */
} FastPath;

/* What an admission knows of one principal: its limits, and the counters of its row. */
typedef struct {
  int64_t key_at, key, base;
  int64_t requests, tokens, concurrency;
  int64_t used_now, reserved_now, held;
} Principal;

typedef struct {
  int64_t limit, room;
} Tightest;

/* ---- words ------------------------------------------------------------------------- */

static void tell(FastPath *self, int64_t at, int64_t value) {
#ifdef WATCHED
  if (self->watch) Py_XDECREF(PyObject_CallFunction(self->watch, "LL", at, value));
#endif
}

static void put(FastPath *self, int64_t at, int64_t value) {
  tell(self, at, value);
  self->words[at] = value;
}

static int is_plain(int64_t figure) { return figure >= 0 && figure < LARGE; }

/* ---- the mutex --------------------------------------------------------------------- */

static void unlock(FastPath *self) {
  tell(self, -1, 0);
  pthread_mutex_unlock(self->mutex);
}

/* Take the mutex; 0 where that needs patience or the section a repair, and then it is free. */
static int lock(FastPath *self) {
  int status = pthread_mutex_trylock(self->mutex);
  if (status == EOWNERDEAD) {
    pthread_mutex_consistent(self->mutex);
    put(self, H_DIRTY, 1);
  } else if (status)
    return 0;
  if (!self->words[H_DIRTY]) return 1;
  unlock(self);
  return 0;
}

/* Whether the last wait for the mutex ran out: then the next one must be RobustMutex's. */
static int has_lost_patience(FastPath *self) {
  PyObject *passed = PyObject_GetAttr(self->robust, deadline_passed);
  Py_XDECREF(passed); /* True and False live for ever */
  return passed != Py_False;
}

/* ---- arguments --------------------------------------------------------------------- */

/* An int from 0 to below `most`, else -1. */
static int64_t read_figure(PyObject *number, int64_t most) {
  if (!PyLong_CheckExact(number)) return -1;
  int overflow;
  int64_t figure = PyLong_AsLongLongAndOverflow(number, &overflow);
  return overflow || figure < 0 || figure >= most ? -1 : figure;
}

/* A time in seconds, else -1. */
static double read_time(PyObject *number) {
  if (!PyFloat_CheckExact(number)) return -1;
  double now = PyFloat_AS_DOUBLE(number);
  return now >= 0 && now < 1e12 ? now : -1;
}

/* Name, limits and row of a principal whose row is known and which is not smoothed. */
static int read_principal(FastPath *self, PyObject *item, Principal *principal) {
  if (!PyTuple_Check(item) || PyTuple_GET_SIZE(item) != 3) return 0;
  PyObject *limits = PyTuple_GET_ITEM(item, 1);
  if (!PyTuple_Check(limits) || PyTuple_GET_SIZE(limits) != 5) return 0;
  PyObject *entry = PyDict_GetItemWithError(self->cached, PyTuple_GET_ITEM(item, 0));
  if (!entry || PyTuple_GET_ITEM(limits, 4) != Py_False) return 0;
  principal->key_at = read_figure(PyTuple_GET_ITEM(entry, 0), self->count);
  principal->key = PyLong_AsLongLong(PyTuple_GET_ITEM(entry, 1));
  principal->base = read_figure(PyTuple_GET_ITEM(entry, 2), self->free);
  principal->requests = read_figure(PyTuple_GET_ITEM(limits, 0), LARGE);
  principal->tokens = read_figure(PyTuple_GET_ITEM(limits, 1), LARGE);
  principal->concurrency = read_figure(PyTuple_GET_ITEM(limits, 2), LARGE);
  return principal->key_at >= 0 && principal->base >= 0 && principal->requests >= 0 &&
         principal->tokens >= 0 && principal->concurrency >= 0;
}

/* How many principals were read; -1 if any is unusual. */
static int read_principals(FastPath *self, PyObject *items, Principal *principals) {
  if (!PyTuple_CheckExact(items) || PyTuple_GET_SIZE(items) > MAX_PRINCIPALS) return -1;
  int count = (int)PyTuple_GET_SIZE(items);
  for (int i = 0; i < count; i++)
    if (!read_principal(self, PyTuple_GET_ITEM(items, i), &principals[i])) return -1;
  return count;
}

/* ---- admission, under the mutex ---------------------------------------------------- */

static int64_t current_slot(FastPath *self, double now) {
  int64_t slot = (int64_t)now / SLOT_SECONDS, latest = self->words[H_LATEST];
  if (slot <= latest) return latest;
  put(self, H_LATEST, slot);
  return slot;
}

/* The index of a free lease, without taking it; -1 if all are taken. */
static int64_t next_free_index(FastPath *self) {
  int64_t free = self->words[H_FREE];
  if (free < 0 || free > self->lease_count) return -1;
  int64_t index = free ? self->words[self->free + free - 1] : self->words[H_HIGH];
  return index >= 0 && index < self->lease_count ? index : -1;
}

static void tighten(Tightest *tightest, int64_t limit, int64_t used) {
  if (limit && limit - used < tightest->room) {
    tightest->limit = limit;
    tightest->room = limit - used;
  }
}

/* Read the counters; 0 where the row is no longer the principal's, or its window must move on, or
 * its concurrency is used up. */
static int read_counters(FastPath *self, Principal *principal, int64_t slot, Tightest *tightest) {
  volatile int64_t *words = self->words, *row = words + principal->base;
  if (words[principal->key_at] != principal->key || row[R_EPOCH] != slot) return 0;
  int64_t past_requests = row[R_PAST_REQUESTS], past_tokens = row[R_PAST_TOKENS];
  principal->used_now = row[R_REQUEST_SLOTS + slot % SLOTS];
  principal->reserved_now = row[R_TOKEN_SLOTS + slot % SLOTS];
  principal->held = row[R_RUNNING];
  if (!is_plain(past_requests) || !is_plain(past_tokens) || !is_plain(principal->used_now) ||
      !is_plain(principal->reserved_now) || !is_plain(principal->held))
    return 0;
  tighten(&tightest[0], principal->requests, past_requests + principal->used_now);
  tighten(&tightest[1], principal->tokens, past_tokens + principal->reserved_now);
  return !principal->concurrency || principal->held < principal->concurrency;
}

static int64_t write_lease(FastPath *self, int64_t index, int64_t packed, int64_t tokens,
                           int64_t slot, int64_t now_ms) {
  int64_t free = self->words[H_FREE];
  if (free)
    put(self, H_FREE, free - 1);
  else
    put(self, H_HIGH, index + 1);
  int64_t at = self->leases + index * LEASE_WORDS;
  int64_t generation = self->words[at + L_GENERATION] % (GENERATIONS - 1) + 1;
  put(self, at + L_GENERATION, generation);
  put(self, at + L_KIND, REQUEST);
  put(self, at + L_ROWS, packed);
  put(self, at + L_TOKENS, tokens);
  put(self, at + L_SLOT, slot);
  put(self, at + L_SINCE, now_ms);
  put(self, at + L_OWNER, self->owner); /* last: now it is held */
  return generation << INDEX_BITS | index;
}

/* Charge the windows, take the lease, count it; its handle. */
static int64_t charge(FastPath *self, const Principal *principals, int count, int64_t tokens,
                      int64_t index, int64_t slot, int64_t now_ms) {
  int64_t packed = 0;
  for (int i = 0; i < count; i++) {
    int64_t base = principals[i].base;
    put(self, base + R_REQUEST_SLOTS + slot % SLOTS, principals[i].used_now + 1);
    if (tokens)
      put(self, base + R_TOKEN_SLOTS + slot % SLOTS, principals[i].reserved_now + tokens);
    packed = packed << ROW_BITS | ((base - self->rows) / ROW_WORDS + 1);
  }
  int64_t handle = write_lease(self, index, packed, tokens, slot, now_ms);
  for (int i = 0; i < count; i++)
    put(self, principals[i].base + R_RUNNING, principals[i].held + 1);
  return handle;
}

/* The handle of a lease, or 0 where the admission is unusual. */
static int64_t take_locked(FastPath *self, Principal *principals, int count, int64_t tokens,
                           double now, int64_t *slot, Tightest *tightest) {
  *slot = current_slot(self, now);
  int64_t index = next_free_index(self);
  if (index < 0 || !is_plain(*slot) || self->words[self->owner_at] != self->owner) return 0;
  for (int i = 0; i < count; i++)
    if (!read_counters(self, &principals[i], *slot, tightest)) return 0;
  if (tightest[0].room <= 0 || (tokens && tightest[1].room < tokens)) return 0;
  return charge(self, principals, count, tokens, index, *slot, (int64_t)(now * 1000));
}

static PyObject *build_decision(FastPath *self, int64_t handle, const Tightest *tightest,
                                int64_t tokens, double reset) {
  int64_t requests = tightest[0].limit, allowance = tightest[1].limit;
  int64_t left = tightest[1].room > tokens ? tightest[1].room - tokens : 0;
  return PyObject_CallFunction(self->decision, "LssdLLdLLd", handle, "", "", 0.0, requests,
                               requests ? tightest[0].room - 1 : 0, requests ? reset : 0.0,
                               allowance, allowance ? left : 0, allowance ? reset : 0.0);
}

/* take(principals, tokens, now): the decision that admits, or None where that is unusual. */
static PyObject *take(FastPath *self, PyObject *const *arguments, Py_ssize_t number) {
  if (number != 3) return PyErr_Format(PyExc_TypeError, "take expects 3 arguments");
  Principal principals[MAX_PRINCIPALS];
  Tightest tightest[2] = {{0, INT64_MAX}, {0, INT64_MAX}};
  int count = read_principals(self, arguments[0], principals);
  int64_t tokens = read_figure(arguments[1], MAX_TOKENS + 1), handle = 0, slot = 0;
  double now = read_time(arguments[2]);
  int usual = count >= 0 && tokens >= 0 && now >= 0 && !has_lost_patience(self);
  PyErr_Clear(); /* the Python code meets it again, and raises it */
  if (usual && lock(self)) {
    handle = take_locked(self, principals, count, tokens, now, &slot, tightest);
    unlock(self);
  }
  if (!handle) Py_RETURN_NONE;
  double reset = (double)((slot + SLOTS) * SLOT_SECONDS) - now;
  return build_decision(self, handle, tightest, tokens, reset);
}

/* ---- settlement, under the mutex --------------------------------------------------- */

/* The rows of a lease; -1 where a row is not plausible. */
static int read_rows(FastPath *self, int64_t at, int64_t *bases) {
  int count = 0;
  for (int64_t rows = self->words[at + L_ROWS]; rows; rows >>= ROW_BITS) {
    int64_t base = self->rows + ((rows & ROW_MASK) - 1) * ROW_WORDS;
    if (count == MAX_PRINCIPALS || base < self->rows || base >= self->free) return -1;
    bases[count++] = base;
  }
  return count;
}

/* Charge the excess over the reservation, or refund its unused part; 0 where a window must move on
 * first, or a level be corrected. */
static int correct_charge(FastPath *self, int64_t at, const int64_t *bases, int count,
                          int64_t excess, int64_t slot) {
  volatile int64_t *words = self->words;
  int64_t into = excess > 0 ? slot : words[at + L_SLOT];
  if (!is_plain(slot) || !is_plain(into)) return 0;
  for (int i = 0; i < count; i++) {
    volatile int64_t *row = words + bases[i];
    if (row[R_EPOCH] != slot || row[R_TOKEN_LEVEL] || !is_plain(row[R_PAST_TOKENS]) ||
        !is_plain(row[R_TOKEN_SLOTS + into % SLOTS]))
      return 0;
  }
  put(self, at + L_TOKENS, words[at + L_TOKENS] + excess);
  if (into <= slot - SLOTS) return 1;
  for (int i = 0; i < count; i++) {
    int64_t counter = bases[i] + R_TOKEN_SLOTS + into % SLOTS, past = bases[i] + R_PAST_TOKENS;
    put(self, counter, words[counter] + excess);
    if (into != slot) put(self, past, words[past] + excess);
  }
  return 1;
}

static void free_lease(FastPath *self, int64_t at, int64_t index, const int64_t *bases,
                       int count) {
  volatile int64_t *words = self->words;
  put(self, at + L_OWNER, 0); /* first: from here on it is free, even if this process dies below */
  for (int i = 0; i < count; i++)
    put(self, bases[i] + R_RUNNING, words[bases[i] + R_RUNNING] - 1);
  int64_t free = words[H_FREE];
  put(self, self->free + free, index);
  put(self, H_FREE, free + 1);
}

/* Whether the lease was returned; 0 where that is unusual. */
static int settle_locked(FastPath *self, int64_t handle, int64_t used, double now) {
  volatile int64_t *words = self->words;
  int64_t index = handle & INDEX_MASK, bases[MAX_PRINCIPALS];
  int64_t at = self->leases + index * LEASE_WORDS, free = words[H_FREE];
  if (words[at + L_GENERATION] != handle >> INDEX_BITS || !words[at + L_OWNER]) return 0;
  int count = read_rows(self, at, bases);
  int64_t reserved = words[at + L_TOKENS];
  if (words[at + L_KIND] != REQUEST || count < 0 || !is_plain(reserved)) return 0;
  if (free < 0 || free >= self->lease_count) return 0;
  int64_t excess = used - reserved;
  if (excess && !correct_charge(self, at, bases, count, excess, current_slot(self, now))) return 0;
  free_lease(self, at, index, bases, count);
  return 1;
}

/* settle(handle, used, now): True, or None where the settlement is unusual. */
static PyObject *settle(FastPath *self, PyObject *const *arguments, Py_ssize_t number) {
  if (number != 3) return PyErr_Format(PyExc_TypeError, "settle expects 3 arguments");
  int64_t handle = read_figure(arguments[0], INT64_MAX), settled = 0;
  int64_t used = read_figure(arguments[1], MAX_TOKENS + 1);
  double now = read_time(arguments[2]);
  int usual = handle > 0 && (handle & INDEX_MASK) < self->lease_count && used >= 0 && now >= 0;
  usual = usual && !has_lost_patience(self);
  PyErr_Clear();
  if (usual && lock(self)) {
    settled = settle_locked(self, handle, used, now);
    unlock(self);
  }
  if (!settled) Py_RETURN_NONE;
  Py_RETURN_TRUE;
}

/* ---- the type and the module ------------------------------------------------------- */

static int initialise(FastPath *self, PyObject *arguments, PyObject *keywords) {
  PyObject *words, *cached, *robust, *decision;
  long long rows, free, leases, lease_count, owner_at, owner;
  if (self->words) return PyErr_Format(PyExc_TypeError, "it is made once"), -1;
  if (!PyArg_ParseTuple(arguments, "OO!OOLLLLLL", &words, &PyDict_Type, &cached, &robust,
                        &decision, &rows, &free, &leases, &lease_count, &owner_at, &owner))
    return -1;
  if (PyObject_GetBuffer(words, &self->view, PyBUF_CONTIG)) return -1;
  self->count = self->view.len / 8;
  if (rows < 0 || free < rows || leases < free + lease_count || owner_at < 0 ||
      owner_at >= rows || leases + lease_count * LEASE_WORDS > self->count)
    return PyErr_Format(PyExc_ValueError, "not the positions of a section"), -1;
  self->words = self->view.buf;
  self->mutex = (pthread_mutex_t *)(self->words + MUTEX);
  self->rows = rows, self->free = free, self->leases = leases, self->lease_count = lease_count;
  self->owner_at = owner_at, self->owner = owner;
  self->cached = Py_NewRef(cached);
  self->robust = Py_NewRef(robust);
  self->decision = Py_NewRef(decision);
  return 0;
}

static void deallocate(FastPath *self) {
  Py_XDECREF(self->cached);
  Py_XDECREF(self->robust);
  Py_XDECREF(self->decision);
  Py_XDECREF(self->watch);
  PyBuffer_Release(&self->view);
  Py_TYPE(self)->tp_free((PyObject *)self);
}

#ifdef WATCHED
static PyObject *set_watch(FastPath *self, PyObject *watch) {
  Py_XSETREF(self->watch, Py_NewRef(watch));
  Py_RETURN_NONE;
}
#endif

static PyMethodDef methods[] = {
    {"take", (PyCFunction)(void (*)(void))take, METH_FASTCALL, NULL},
    {"settle", (PyCFunction)(void (*)(void))settle, METH_FASTCALL, NULL},
#ifdef WATCHED
    {"set_watch", (PyCFunction)set_watch, METH_O, NULL},
#endif
    {NULL}};

static PyTypeObject FastPathType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "vai.io.limits._fast_path.FastPath",
    .tp_basicsize = sizeof(FastPath),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)initialise,
    .tp_dealloc = (destructor)deallocate,
    .tp_methods = methods};

/* What must be as in Python, by its name there. */
static const struct {
  const char *name;
  int64_t value;
} figures[] = {
#define FIGURE(name) {#name, name}
    FIGURE(H_DIRTY), FIGURE(H_LATEST), FIGURE(H_FREE), FIGURE(H_HIGH),
    FIGURE(R_EPOCH), FIGURE(R_RUNNING), FIGURE(R_PAST_REQUESTS), FIGURE(R_PAST_TOKENS),
    FIGURE(R_TOKEN_LEVEL), FIGURE(R_REQUEST_SLOTS), FIGURE(R_TOKEN_SLOTS),
    FIGURE(L_OWNER), FIGURE(L_GENERATION), FIGURE(L_KIND), FIGURE(L_ROWS), FIGURE(L_TOKENS),
    FIGURE(L_SLOT), FIGURE(L_SINCE), FIGURE(MUTEX), FIGURE(ROW_WORDS), FIGURE(LEASE_WORDS),
    FIGURE(ROW_BITS), FIGURE(ROW_MASK), FIGURE(REQUEST), FIGURE(SLOTS), FIGURE(SLOT_SECONDS),
    FIGURE(MAX_PRINCIPALS), FIGURE(GENERATIONS), FIGURE(MAX_TOKENS), FIGURE(INDEX_MASK)};

static int add_figures(PyObject *module) {
  PyObject *table = PyDict_New();
  for (size_t i = 0; table && i < sizeof figures / sizeof figures[0]; i++) {
    PyObject *value = PyLong_FromLongLong(figures[i].value);
    if (!value || PyDict_SetItemString(table, figures[i].name, value)) Py_CLEAR(table);
    Py_XDECREF(value);
  }
  int status = table ? PyModule_AddObjectRef(module, "FIGURES", table) : -1;
  Py_XDECREF(table);
  return status;
}

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_fast_path", NULL, -1, NULL};

PyMODINIT_FUNC PyInit__fast_path(void) {
  PyObject *module = PyModule_Create(&definition);
  deadline_passed = PyUnicode_InternFromString("deadline_passed");
  if (!module || !deadline_passed || PyModule_AddType(module, &FastPathType) || add_figures(module))
    Py_CLEAR(module);
  return module;
}
