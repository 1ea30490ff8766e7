/* Tensor files: round trips, every encoding of TensorProto, and files that lie. */
#include "test.h"

#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/half.h"
#include "base/tensor_file.h"

static Arena arena;
static char root[64];

static Status from_pb(const void *bytes, size_t size, Tensor *out, const char **name, Diag *diag) {
    /* A copy of exactly that size, so that a sanitizer sees any read past it. */
    void *copy = malloc(size == 0 ? 1 : size);
    if (copy == NULL) return STATUS_NO_MEMORY;
    if (size > 0) memcpy(copy, bytes, size);
    Status status = tensor_from_pb(copy, size, &arena, out, name, diag);
    free(copy);
    return status;
}

static Status from_npy(const void *bytes, size_t size, Tensor *out, Diag *diag) {
    void *copy = malloc(size == 0 ? 1 : size);
    if (copy == NULL) return STATUS_NO_MEMORY;
    if (size > 0) memcpy(copy, bytes, size);
    Status status = tensor_from_npy(copy, size, &arena, out, diag);
    free(copy);
    return status;
}

/* An npy file of version 1 with the given dict, not padded. */
static ByteWriter npy_file(const char *dict, const void *data, size_t size) {
    ByteWriter writer = byte_writer(&arena);
    write_bytes(&writer, "\x93NUMPY\x01\x00", 8);
    write_u16(&writer, (uint16_t)strlen(dict));
    write_bytes(&writer, dict, strlen(dict));
    write_bytes(&writer, data, size);
    return writer;
}

static void check_npy(const char *dict, const void *data, size_t size, const char *expected) {
    Tensor tensor;
    Diag diag = {0};
    char text[64];
    ByteWriter file = npy_file(dict, data, size);
    CHECK_OK(from_npy(file.data, file.size, &tensor, &diag), &diag);
    if (diag.status != STATUS_OK) return;
    tensor_format(&tensor, text, sizeof text);
    CHECK_STR(text, expected);
}

static void refuse_npy(const char *dict, size_t size, const char *message) {
    static const uint8_t zeros[256];
    Tensor tensor;
    Diag diag = {0};
    ByteWriter file = npy_file(dict, zeros, size);
    CHECK_INT(from_npy(file.data, file.size, &tensor, &diag), STATUS_BAD_DATA);
    CHECK(strstr(diag.text, message) != NULL);
    if (strstr(diag.text, message) == NULL) fprintf(stderr, "  %s gives: %s\n", dict, diag.text);
}

static void test_npy_headers(void) {
    static const uint8_t zeros[256];
    check_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n", zeros, 24, "f32[2,3]");
    check_npy("{\"shape\":(2,3),\"fortran_order\":False,\"descr\":\"=f4\"}", zeros, 24, "f32[2,3]");
    check_npy("{'descr': '|b1', 'fortran_order': False, 'shape': ()}", zeros, 1, "bool[]");
    check_npy("{'descr': '<i8', 'fortran_order': True, 'shape': (4L,)}", zeros, 32, "i64[4]");
    check_npy("{'descr': '<c16', 'fortran_order': False, 'shape': (0, 7)}", zeros, 0, "c128[0,7]");
    check_npy("{'descr': '>u1', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1)}", zeros, 1,
              "u8[1,1,1,1,1,1,1,1]");
    refuse_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", 23, "needs 24");
    refuse_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", 25, "needs 24");
    refuse_npy("{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", 4, "big-endian");
    refuse_npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", 8, "'|O'");
    refuse_npy("{'descr': '<U3', 'fortran_order': False, 'shape': (1,)}", 12, "'<U3'");
    refuse_npy("{'descr': '', 'fortran_order': False, 'shape': (1,)}", 4, "npy type");
    refuse_npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", 4, "records");
    refuse_npy("{'descr': '<f4', 'fortran_order': False}", 4, "malformed");
    refuse_npy("{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,)}", 4, "malformed");
    refuse_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", 4, "malformed");
    refuse_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1", 4, "malformed");
    refuse_npy("{'descr': '<f4", 4, "malformed");
    refuse_npy("", 0, "malformed");
    refuse_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", 4, "malformed");
    refuse_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", 4, "overflow");
    refuse_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,)}", 4,
               "needs 4398046511104");
    refuse_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}", 4, "rank 9");
}

static void test_npy_fortran(void) {
    Tensor tensor;
    Diag diag = {0};
    int16_t columns[24];
    for (int i = 0; i < 24; ++i) columns[i] = (int16_t)i;
    ByteWriter file = npy_file("{'descr': '<i2', 'fortran_order': True, 'shape': (2, 3, 4)}", columns, 48);
    CHECK_OK(from_npy(file.data, file.size, &tensor, &diag), &diag);
    for (int i = 0; i < 2; ++i) {
        for (int j = 0; j < 3; ++j) {
            for (int k = 0; k < 4; ++k) {
                CHECK_INT(((int16_t *)tensor.data)[(i * 3 + j) * 4 + k], i + 2 * j + 6 * k);
            }
        }
    }
    file = npy_file("{'descr': '|b1', 'fortran_order': True, 'shape': (2, 2)}", "\x00\x02\x00\xff", 4);
    CHECK_OK(from_npy(file.data, file.size, &tensor, &diag), &diag);
    CHECK(memcmp(tensor.data, "\x00\x00\x01\x01", 4) == 0);
}

static const DType all_types[] = {
    DTYPE_F32, DTYPE_U8,  DTYPE_I8,       DTYPE_U16,        DTYPE_I16,    DTYPE_I32,        DTYPE_I64,
    DTYPE_F16, DTYPE_F64, DTYPE_U32,      DTYPE_U64,        DTYPE_C64,    DTYPE_C128,       DTYPE_BF16,
    DTYPE_U4,  DTYPE_I4,  DTYPE_F8E4M3FN, DTYPE_F8E4M3FNUZ, DTYPE_F8E5M2, DTYPE_F8E5M2FNUZ, DTYPE_F4E2M1,
    DTYPE_U2,  DTYPE_I2,  DTYPE_F8E8M0,   DTYPE_BOOL};

/* What a type reads back as from an npy file. */
static DType npy_type(DType dtype) {
    if (dtype == DTYPE_BF16) return DTYPE_U16;
    if (dtype_is_float(dtype) && dtype_bits(dtype) <= 8) return DTYPE_U8;
    if (dtype_bits(dtype) < 8) return dtype_kind(dtype) == DTYPE_KIND_SIGNED ? DTYPE_I8 : DTYPE_U8;
    return dtype;
}

static void test_file_round_trips(void) {
    static uint8_t data[15 * 16];
    char *npy = path_join(&arena, root, "t.npy"), *pb = path_join(&arena, root, "t.pb");
    for (size_t i = 0; i < sizeof data; ++i) data[i] = (uint8_t)(i * 37 + 11);
    for (size_t t = 0; t < sizeof all_types / sizeof all_types[0]; ++t) {
        Tensor tensor = {.dtype = all_types[t], .rank = 2, .dim = {3, 5}, .data = data}, back;
        const char *name = "unset";
        Diag diag = {0};
        for (size_t i = 0; tensor.dtype == DTYPE_BOOL && i < sizeof data; ++i) data[i] &= 1;
        CHECK_OK(tensor_file_write(pb, &tensor, "x/y:0", &diag), &diag);
        CHECK_OK(tensor_file_read(pb, &arena, &back, &name, &diag), &diag);
        CHECK_INT(back.dtype, tensor.dtype);
        CHECK(tensor_same_shape(&back, &tensor) && memcmp(back.data, data, tensor_bytes(&tensor)) == 0);
        CHECK_STR(name, "x/y:0");
        CHECK_OK(tensor_file_write(npy, &tensor, "x", &diag), &diag);
        CHECK_OK(tensor_file_read(npy, &arena, &back, &name, &diag), &diag);
        CHECK(name == NULL && tensor_same_shape(&back, &tensor));
        CHECK_INT(back.dtype, npy_type(tensor.dtype));
        for (int i = 0; i < 15 && dtype_is_integer(tensor.dtype); ++i) {
            CHECK_INT(dtype_load_i64(back.dtype, back.data, i), dtype_load_i64(tensor.dtype, data, i));
        }
        if (dtype_bits(tensor.dtype) >= 8) CHECK(memcmp(back.data, data, tensor_bytes(&tensor)) == 0);
        if (tensor.dtype == DTYPE_F4E2M1) CHECK(((uint8_t *)back.data)[1] == data[0] >> 4);
    }
    unlink(npy);
    unlink(pb);
}

static void test_file_errors(void) {
    float value = 1;
    Tensor tensor = {.dtype = DTYPE_F32, .data = &value}, back;
    char *raw = path_join(&arena, root, "t.raw");
    Diag diag = {0};
    CHECK_INT(tensor_file_write(raw, &tensor, NULL, &diag), STATUS_USAGE);
    diag_clear(&diag);
    CHECK_INT(tensor_file_read(raw, &arena, &back, NULL, &diag), STATUS_USAGE);
    diag_clear(&diag);
    CHECK_INT(tensor_file_read(path_join(&arena, root, "none.npy"), &arena, &back, NULL, &diag), STATUS_IO);
    diag_clear(&diag);
    tensor.dtype = DTYPE_STRING;
    CHECK_INT(tensor_file_write(path_join(&arena, root, "s.npy"), &tensor, NULL, &diag), STATUS_UNSUPPORTED);
    diag_clear(&diag);
    char *bad = path_join(&arena, root, "bad.npy");
    CHECK_OK(file_replace(bad, "nonsense", 8, &diag), &diag);
    CHECK_INT(tensor_file_read(bad, &arena, &back, NULL, &diag), STATUS_BAD_DATA);
    CHECK_STR(diag.context[DIAG_FILE], bad);
    unlink(bad);

    diag_clear(&diag);
    CHECK_OK(file_replace(raw, "\x01\x02\x03\x04\x05\x06\x07\x08", 8, &diag), &diag);
    back = (Tensor){.dtype = DTYPE_U16, .rank = 2, .dim = {2, 2}};
    CHECK_OK(tensor_file_read_raw(raw, &arena, &back, &diag), &diag);
    CHECK_INT(((uint16_t *)back.data)[3], 0x0807);
    back.dim[0] = 3;
    CHECK_INT(tensor_file_read_raw(raw, &arena, &back, &diag), STATUS_BAD_DATA);
    CHECK(strstr(diag.text, "has 8 bytes, but u16[3,2] needs 12") != NULL);
    unlink(raw);
}

/* TensorProto by hand. */
static void put_varint(ByteWriter *writer, uint64_t value) {
    for (; value >= 0x80; value >>= 7) write_u8(writer, (uint8_t)(value | 0x80));
    write_u8(writer, (uint8_t)value);
}

static void put_field(ByteWriter *writer, int number, uint64_t value) {
    put_varint(writer, (uint64_t)number << 3);
    put_varint(writer, value);
}

static void put_bytes(ByteWriter *writer, int number, const void *data, size_t size) {
    put_varint(writer, (uint64_t)number << 3 | 2);
    put_varint(writer, size);
    write_bytes(writer, data, size);
}

static ByteWriter pb_begin(DType dtype, int64_t count) {
    ByteWriter writer = byte_writer(&arena);
    put_field(&writer, 1, (uint64_t)count);
    put_field(&writer, 2, (uint64_t)dtype);
    return writer;
}

/* Varint values in a field, all packed (form 0), single (1), or some of each (2). */
static void put_values(ByteWriter *writer, int number, const int64_t *values, int count, int form) {
    for (int i = 0; i < count;) {
        ByteWriter packed = byte_writer(&arena);
        int run = form == 0 ? count : 2;
        if (form == 1 || (form == 2 && i % 3 == 0)) {
            put_field(writer, number, (uint64_t)values[i++]);
            continue;
        }
        for (; run > 0 && i < count; --run) put_varint(&packed, (uint64_t)values[i++]);
        put_bytes(writer, number, packed.data, packed.size);
    }
}

static void check_varints(DType dtype, int number, const int64_t *values, int count, int64_t elements) {
    for (int form = 0; form < 3; ++form) {
        Tensor tensor;
        Diag diag = {0};
        ByteWriter writer = pb_begin(dtype, elements);
        put_values(&writer, number, values, count, form);
        CHECK_OK(from_pb(writer.data, writer.size, &tensor, NULL, &diag), &diag);
        if (diag.status != STATUS_OK) continue;
        for (int i = 0; i < count; ++i) {
            DType stored = dtype_bits(dtype) < 8 || dtype_is_float(dtype) ? DTYPE_NONE : dtype;
            if (stored != DTYPE_NONE) CHECK_INT(dtype_load_i64(stored, tensor.data, i), values[i]);
            if (stored == DTYPE_NONE && dtype_bits(dtype) <= 8) {
                CHECK_INT(((uint8_t *)tensor.data)[i], (uint8_t)values[i]);
            } else if (stored == DTYPE_NONE) {
                CHECK_INT(((uint16_t *)tensor.data)[i], values[i]);
            }
        }
    }
}

static void test_pb_integers(void) {
    const int64_t i32[] = {0, -1, 5, INT32_MIN, INT32_MAX}, i8[] = {-128, 127, 0, -1, 3};
    const int64_t i64[] = {INT64_MIN, INT64_MAX, 0, -1, 7}, bits[] = {0x3c00, 0xffff, 0, 0x8000, 1};
    const int64_t u8[] = {0, 255, 128, 7, 1}, u32[] = {0, UINT32_MAX, 1, 2, 3};
    const int64_t bools[] = {0, 1, 1, 0, 1};
    check_varints(DTYPE_I32, 5, i32, 5, 5);
    check_varints(DTYPE_I16, 5, i8, 5, 5);
    check_varints(DTYPE_I8, 5, i8, 5, 5);
    check_varints(DTYPE_U8, 5, u8, 5, 5);
    check_varints(DTYPE_U16, 5, bits, 5, 5);
    check_varints(DTYPE_F16, 5, bits, 5, 5);
    check_varints(DTYPE_BF16, 5, bits, 5, 5);
    check_varints(DTYPE_F8E4M3FN, 5, u8, 5, 5);
    check_varints(DTYPE_F8E8M0, 5, u8, 5, 5);
    check_varints(DTYPE_BOOL, 5, bools, 5, 5);
    check_varints(DTYPE_I4, 5, u8, 5, 9); /* two elements per value, the last half empty */
    check_varints(DTYPE_U4, 5, u8, 5, 10);
    check_varints(DTYPE_F4E2M1, 5, u8, 5, 10);
    check_varints(DTYPE_U2, 5, u8, 5, 17);
    check_varints(DTYPE_I64, 7, i64, 5, 5);
    check_varints(DTYPE_U64, 11, i64, 5, 5);
    check_varints(DTYPE_U32, 11, u32, 5, 5);
}

static void test_pb_floats(void) {
    const float f32[] = {1.5f, -2, 3, 4};
    const double f64[] = {1e300, -2.5};
    Tensor tensor;
    Diag diag = {0};
    const char *name;
    ByteWriter writer = pb_begin(DTYPE_F32, 4);
    put_bytes(&writer, 4, f32, 8);
    put_varint(&writer, 4 << 3 | 5); /* single values after packed ones */
    write_f32(&writer, f32[2]);
    put_varint(&writer, 4 << 3 | 5);
    write_f32(&writer, f32[3]);
    put_bytes(&writer, 12, "doc", 3);
    put_bytes(&writer, 8, "weight", 6);
    CHECK_OK(from_pb(writer.data, writer.size, &tensor, &name, &diag), &diag);
    CHECK(memcmp(tensor.data, f32, sizeof f32) == 0);
    CHECK_STR(name, "weight");

    writer = pb_begin(DTYPE_C64, 2);
    put_bytes(&writer, 4, f32, 16);
    CHECK_OK(from_pb(writer.data, writer.size, &tensor, &name, &diag), &diag);
    CHECK(memcmp(tensor.data, f32, sizeof f32) == 0 && name == NULL);

    writer = pb_begin(DTYPE_F64, 2);
    put_bytes(&writer, 10, f64, 8);
    put_varint(&writer, 10 << 3 | 1);
    write_bytes(&writer, &f64[1], 8);
    CHECK_OK(from_pb(writer.data, writer.size, &tensor, NULL, &diag), &diag);
    CHECK(memcmp(tensor.data, f64, sizeof f64) == 0);

    writer = byte_writer(&arena); /* packed dims, data before the shape, raw bools that are not 0 or 1 */
    put_bytes(&writer, 9, "\x00\x07\xff\x01\x00\x02", 6);
    put_bytes(&writer, 1, "\x02\x03", 2);
    put_field(&writer, 2, DTYPE_BOOL);
    CHECK_OK(from_pb(writer.data, writer.size, &tensor, NULL, &diag), &diag);
    CHECK(tensor.rank == 2 && tensor.dim[1] == 3 && memcmp(tensor.data, "\x00\x01\x01\x01\x00\x01", 6) == 0);

    writer = pb_begin(DTYPE_F32, 0);
    CHECK_OK(from_pb(writer.data, writer.size, &tensor, NULL, &diag), &diag);
    CHECK(tensor.data != NULL);
}

static void refuse_pb(const ByteWriter *writer, Status status, const char *message) {
    Tensor tensor;
    Diag diag = {0};
    const char *name;
    CHECK_INT(from_pb(writer->data, writer->size, &tensor, &name, &diag), status);
    CHECK(strstr(diag.text, message) != NULL);
    if (strstr(diag.text, message) == NULL) fprintf(stderr, "  instead: %s\n", diag.text);
}

/* One field more or less than a good tensor of two elements. */
static void refuse_with(DType dtype, int number, uint64_t value, Status status, const char *message) {
    ByteWriter writer = pb_begin(dtype, 2);
    put_field(&writer, number, value);
    refuse_pb(&writer, status, message);
}

static void test_pb_refused(void) {
    const int64_t values[] = {1, 300};
    refuse_with(DTYPE_F32, 2, 0, STATUS_BAD_DATA, "unknown data_type 0");
    refuse_with(DTYPE_F32, 2, 99, STATUS_BAD_DATA, "unknown data_type 99");
    refuse_with(DTYPE_STRING, 2, DTYPE_STRING, STATUS_UNSUPPORTED, "string");
    refuse_with(DTYPE_F32, 14, 1, STATUS_UNSUPPORTED, "external");
    refuse_with(DTYPE_F32, 1, UINT64_MAX, STATUS_BAD_DATA, "negative");
    refuse_with(DTYPE_F32, 1, INT64_MAX, STATUS_BAD_DATA, "overflow");
    refuse_with(DTYPE_F32, 1, 1u << 30, STATUS_BAD_DATA, "raw_data has 0 bytes");
    refuse_with(DTYPE_F32, 4, 1, STATUS_BAD_DATA, "malformed field float_data");
    refuse_with(DTYPE_F32, 7, 1, STATUS_BAD_DATA, "cannot stand in int64_data");
    refuse_with(DTYPE_I64, 7, 1, STATUS_BAD_DATA, "int64_data has 1 values, the shape needs 2");
    refuse_with(DTYPE_F32, 0, 1, STATUS_BAD_DATA, "not a TensorProto");

    ByteWriter writer = pb_begin(DTYPE_U8, 2);
    put_values(&writer, 5, values, 2, 0);
    refuse_pb(&writer, STATUS_BAD_DATA, "not in the range of u8");
    put_bytes(&writer, 9, "ab", 2);
    refuse_pb(&writer, STATUS_BAD_DATA, "both raw_data and int32_data");
    writer = pb_begin(DTYPE_F32, 2);
    put_bytes(&writer, 9, "abc", 3);
    refuse_pb(&writer, STATUS_BAD_DATA, "raw_data has 3 bytes, the shape needs 8");
    writer = pb_begin(DTYPE_F32, 2);
    put_bytes(&writer, 4, "abcdefg", 7);
    refuse_pb(&writer, STATUS_BAD_DATA, "malformed field float_data");
    writer = pb_begin(DTYPE_I32, 1);
    put_bytes(&writer, 5, "\xff\xff", 2);
    refuse_pb(&writer, STATUS_BAD_DATA, "malformed field int32_data");
    writer = pb_begin(DTYPE_I64, 1);
    put_bytes(&writer, 7, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
              12); /* longer than any varint */
    refuse_pb(&writer, STATUS_BAD_DATA, "int64_data");
    writer = pb_begin(DTYPE_F32, 2);
    put_bytes(&writer, 6, "text", 4);
    refuse_pb(&writer, STATUS_UNSUPPORTED, "string");
    writer = pb_begin(DTYPE_U8, 2);
    put_bytes(&writer, 9, "ab", 2);
    put_bytes(&writer, 8, "a\0b", 3);
    refuse_pb(&writer, STATUS_BAD_DATA, "zero byte");
    writer = pb_begin(DTYPE_U8, 2);
    put_varint(&writer, 9 << 3 | 2);
    put_varint(&writer, UINT64_MAX);
    refuse_pb(&writer, STATUS_BAD_DATA, "cut off");
    writer = byte_writer(&arena);
    for (int i = 0; i < 9; ++i) put_field(&writer, 1, 1);
    put_field(&writer, 2, DTYPE_U8);
    refuse_pb(&writer, STATUS_BAD_DATA, "rank 9");
}

static uint32_t random_state = 99;

static uint32_t random_u32(void) {
    random_state = random_state * 1664525 + 1013904223;
    return random_state >> 8;
}

/* Cuts at every length and damages bytes: never more memory than the file can justify, no wild read (run
 * under a sanitizer), and what is accepted is consistent. */
static void test_damage(bool npy, const uint8_t *file, size_t size) {
    static uint8_t damaged[4096];
    Tensor tensor;
    for (size_t cut = 0; cut < size; ++cut) {
        Diag diag = {0};
        Status status = npy ? from_npy(file, cut, &tensor, &diag) : from_pb(file, cut, &tensor, NULL, &diag);
        CHECK(status != STATUS_OK && diag.text[0] != '\0');
    }
    for (int round = 0; round < 20000; ++round) {
        Diag diag = {0};
        memcpy(damaged, file, size);
        for (uint32_t i = 0; i <= random_u32() % 3; ++i) {
            damaged[random_u32() % size] = (uint8_t)random_u32();
        }
        size_t before = arena.total;
        Status status =
            npy ? from_npy(damaged, size, &tensor, &diag) : from_pb(damaged, size, &tensor, NULL, &diag);
        CHECK(arena.total - before <= 2 * size);
        if (status == STATUS_OK) CHECK(tensor_bytes(&tensor) <= size);
    }
}

static void test_hostile(void) {
    static const float data[15];
    const int64_t values[] = {1, -2, 3, 400, 5, -600};
    ByteWriter npy = npy_file("{'descr': '<f4', 'fortran_order': True, 'shape': (3, 5), }", data, 60);
    test_damage(true, npy.data, npy.size);
    ByteWriter raw = pb_begin(DTYPE_F32, 15);
    put_bytes(&raw, 8, "name", 4);
    put_bytes(&raw, 9, data, 60);
    test_damage(false, raw.data, raw.size);
    ByteWriter typed = pb_begin(DTYPE_I32, 6);
    put_values(&typed, 5, values, 6, 2);
    test_damage(false, typed.data, typed.size);
}

int main(void) {
    const char *folder = getenv("TMPDIR");
    snprintf(root, sizeof root, "%.40s/base_tensor.XXXXXX", folder != NULL ? folder : "/tmp");
    CHECK(mkdtemp(root) != NULL);
    test_npy_headers();
    test_npy_fortran();
    test_file_round_trips();
    test_file_errors();
    test_pb_integers();
    test_pb_floats();
    test_pb_refused();
    test_hostile();
    CHECK(rmdir(root) == 0);
    arena_reset(&arena);
    return test_result();
}
