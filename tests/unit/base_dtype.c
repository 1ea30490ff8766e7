#include "test.h"

#include "base/dtype.h"
#include "base/half.h"

static const DType numeric[] = {
    DTYPE_F32,    DTYPE_F64,      DTYPE_F16,        DTYPE_BF16,   DTYPE_U8,         DTYPE_I8,
    DTYPE_U16,    DTYPE_I16,      DTYPE_U32,        DTYPE_I32,    DTYPE_U64,        DTYPE_I64,
    DTYPE_BOOL,   DTYPE_F8E4M3FN, DTYPE_F8E4M3FNUZ, DTYPE_F8E5M2, DTYPE_F8E5M2FNUZ, DTYPE_F4E2M1,
    DTYPE_F8E8M0, DTYPE_U4,       DTYPE_I4,         DTYPE_U2,     DTYPE_I2};
enum { NUMERIC = sizeof numeric / sizeof numeric[0] };

static void test_table(void) {
    CHECK_INT(DTYPE_F32, 1);
    CHECK_INT(DTYPE_I2, 26);
    CHECK(!dtype_is_valid(0) && !dtype_is_valid(27) && !dtype_is_valid(-1) && !dtype_is_valid(INT64_MAX));
    CHECK(dtype_is_valid(1) && dtype_is_valid(26));
    CHECK_STR(dtype_name(DTYPE_F8E5M2FNUZ), "f8e5m2fnuz");
    CHECK_STR(dtype_name((DType)99), "none");
    CHECK_INT(dtype_from_name("bf16"), DTYPE_BF16);
    CHECK_INT(dtype_from_name("float"), DTYPE_NONE);
    CHECK(dtype_is_float(DTYPE_F4E2M1) && !dtype_is_float(DTYPE_I4) && !dtype_is_float(DTYPE_C64));
    CHECK(dtype_is_integer(DTYPE_U2) && !dtype_is_integer(DTYPE_BOOL));
}

static void test_storage(void) {
    size_t bytes = 1;
    CHECK(dtype_storage(DTYPE_I4, 3, &bytes) && bytes == 2);
    CHECK(dtype_storage(DTYPE_U2, 5, &bytes) && bytes == 2);
    CHECK(dtype_storage(DTYPE_C128, 3, &bytes) && bytes == 48);
    CHECK(dtype_storage(DTYPE_F32, 0, &bytes) && bytes == 0);
    CHECK(dtype_storage(DTYPE_U4, INT64_MAX, &bytes) && bytes == (size_t)1 << 62);
    CHECK(!dtype_storage(DTYPE_F32, INT64_MAX, &bytes));
    CHECK(!dtype_storage(DTYPE_F32, -1, &bytes));
    CHECK(!dtype_storage(DTYPE_NONE, 1, &bytes));
}

static void test_integers(void) {
    uint8_t u8[4] = {0};
    int8_t i8[1];
    int64_t i64[1];
    uint64_t u64[1];
    int32_t i32[1];
    dtype_store_f64(DTYPE_U8, u8, 1, 2.5);
    dtype_store_f64(DTYPE_U8, u8, 2, 3.5);
    dtype_store_f64(DTYPE_U8, u8, 3, 1e9);
    CHECK(u8[1] == 2 && u8[2] == 4 && u8[3] == 255);
    dtype_store_f64(DTYPE_U8, u8, 0, -3);
    dtype_store_f64(DTYPE_U8, u8, 1, NAN);
    dtype_store_i64(DTYPE_U8, u8, 2, 258);
    CHECK(u8[0] == 0 && u8[1] == 0 && u8[2] == 2);
    dtype_store_f64(DTYPE_I8, i8, 0, -128.4);
    CHECK_INT(i8[0], -128);
    dtype_store_f64(DTYPE_I64, i64, 0, 0x1p63);
    CHECK_INT(i64[0], INT64_MAX);
    dtype_store_f64(DTYPE_I64, i64, 0, -INFINITY);
    CHECK_INT(i64[0], INT64_MIN);
    dtype_store_f64(DTYPE_U64, u64, 0, 0x1p63);
    CHECK(u64[0] == (uint64_t)1 << 63);
    dtype_store_f64(DTYPE_I32, i32, 0, 2147483647.4);
    CHECK_INT(i32[0], INT32_MAX);
    float f32[3] = {-2.9f, 1e30f, NAN};
    CHECK_INT(dtype_load_i64(DTYPE_F32, f32, 0), -2);
    CHECK_INT(dtype_load_i64(DTYPE_F32, f32, 1), INT64_MAX);
    CHECK_INT(dtype_load_i64(DTYPE_F32, f32, 2), 0);
}

static void test_special_runs(void) {
    const float special[5] = {NAN, INFINITY, -INFINITY, 2.5f, -3.5f};
    const DType types[] = {DTYPE_U8,  DTYPE_I8,  DTYPE_U16, DTYPE_I16,
                           DTYPE_U32, DTYPE_I32, DTYPE_I64, DTYPE_I4};
    int64_t data[5], single[5];
    for (size_t t = 0; t < sizeof types / sizeof types[0]; ++t) {
        memset(data, 0, sizeof data);
        memset(single, 0, sizeof single);
        dtype_write_f32(types[t], data, 0, 5, special);
        for (int i = 0; i < 5; ++i) dtype_store_f64(types[t], single, i, (double)special[i]);
        CHECK(memcmp(data, single, sizeof data) == 0);
        CHECK_INT(dtype_load_i64(types[t], data, 0), 0);
        CHECK_INT(dtype_load_i64(types[t], data, 3), 2);
    }
}

static void test_packed(void) {
    uint8_t bytes[3] = {0xff, 0xff, 0xff};
    dtype_store_i64(DTYPE_I4, bytes, 1, -3);
    CHECK(bytes[0] == 0xdf && bytes[1] == 0xff);
    CHECK_INT(dtype_load_i64(DTYPE_I4, bytes, 1), -3);
    CHECK_INT(dtype_load_i64(DTYPE_U4, bytes, 1), 13);
    CHECK_INT(dtype_load_i64(DTYPE_I4, bytes, 0), -1);
    dtype_store_i64(DTYPE_I4, bytes, 0, 9); /* wraps */
    CHECK_INT(dtype_load_i64(DTYPE_I4, bytes, 0), -7);
    dtype_store_f64(DTYPE_I4, bytes, 0, 9); /* saturates */
    CHECK_INT(dtype_load_i64(DTYPE_I4, bytes, 0), 7);
    dtype_store_f64(DTYPE_U4, bytes, 0, 200);
    CHECK_INT(dtype_load_i64(DTYPE_U4, bytes, 0), 15);
    dtype_store_i64(DTYPE_U2, bytes, 6, 2);
    CHECK(bytes[1] == 0xef);
    dtype_store_f64(DTYPE_I2, bytes, 6, -7);
    CHECK_INT(dtype_load_i64(DTYPE_I2, bytes, 6), -2);
    dtype_store_f64(DTYPE_F4E2M1, bytes, 5, -1.5);
    CHECK(bytes[2] == 0xbf);
    CHECK(dtype_load_f64(DTYPE_F4E2M1, bytes, 5) == -1.5);
}

/* Values that a conversion through an intermediate type would round twice. */
static void test_single_rounding(void) {
    float f32[1];
    uint16_t u16[1];
    dtype_store_f64(DTYPE_F16, u16, 0, 1 + 0x1p-11 + 0x1p-40);
    CHECK_INT(u16[0], 0x3c01);
    dtype_store_f64(DTYPE_BF16, u16, 0, 1 + 0x1p-8 + 0x1p-40);
    CHECK_INT(u16[0], 0x3f81);
    int64_t value = ((int64_t)1 << 62) + ((int64_t)1 << 38) + 1; /* just above a tie of f32 */
    dtype_store_i64(DTYPE_F32, f32, 0, value);
    CHECK(f32[0] == (float)value && f32[0] == 0x1p62f + 0x1p39f);
    dtype_store_i64(DTYPE_BF16, u16, 0, -(((int64_t)1 << 62) + ((int64_t)1 << 54) + 1));
    CHECK(bf16_to_float(u16[0]) == -(0x1p62f + 0x1p55f));
}

/* Every run function gives what the element functions give, at odd starts and for every type. */
static void test_runs(void) {
    enum { COUNT = 37, FIRST = 3, BYTES = (COUNT + FIRST) * 8 };
    static double f64[COUNT], read_f64[COUNT];
    static float f32[COUNT], read_f32[COUNT];
    static int64_t i64[COUNT], read_i64[COUNT];
    static uint64_t run[BYTES / 8], single[BYTES / 8];
    for (int i = 0; i < COUNT; ++i) {
        f64[i] = (i - 15) * 1.37 * (i % 5 == 0 ? 1e6 : 1);
        f32[i] = (float)f64[i];
        i64[i] = (int64_t)(i - 18) * 1000003;
    }
    for (int t = 0; t < NUMERIC; ++t) {
        for (int form = 0; form < 3; ++form) {
            memset(run, 0x5a, sizeof run);
            memset(single, 0x5a, sizeof single);
            if (form == 0) dtype_write_f32(numeric[t], run, FIRST, COUNT, f32);
            if (form == 1) dtype_write_f64(numeric[t], run, FIRST, COUNT, f64);
            if (form == 2) dtype_write_i64(numeric[t], run, FIRST, COUNT, i64);
            for (int i = 0; i < COUNT; ++i) {
                if (form == 0) dtype_store_f64(numeric[t], single, FIRST + i, (double)f32[i]);
                if (form == 1) dtype_store_f64(numeric[t], single, FIRST + i, f64[i]);
                if (form == 2) dtype_store_i64(numeric[t], single, FIRST + i, i64[i]);
            }
            CHECK(memcmp(run, single, sizeof run) == 0);
            dtype_read_f32(numeric[t], run, FIRST, COUNT, read_f32);
            dtype_read_f64(numeric[t], run, FIRST, COUNT, read_f64);
            dtype_read_i64(numeric[t], run, FIRST, COUNT, read_i64);
            for (int i = 0; i < COUNT; ++i) {
                CHECK(read_f64[i] == dtype_load_f64(numeric[t], run, FIRST + i));
                CHECK(read_f32[i] == (float)read_f64[i]);
                CHECK(read_i64[i] == dtype_load_i64(numeric[t], run, FIRST + i));
            }
        }
    }
    memset(run, 0x5a, sizeof run);
    dtype_store_f64(DTYPE_C64, run, 0, 1);
    CHECK(run[0] == 0x5a5a5a5a5a5a5a5au && dtype_load_f64(DTYPE_STRING, run, 0) == 0);
}

int main(void) {
    test_table();
    test_storage();
    test_integers();
    test_special_runs();
    test_packed();
    test_single_rounding();
    test_runs();
    return test_result();
}
