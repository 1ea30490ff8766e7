/* Byte streams, hashing and tensor descriptions. */
#include "test.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "base/tensor.h"

static void test_round_trip(void) {
    Arena arena = {0};
    ByteWriter writer = byte_writer(&arena);
    write_u8(&writer, 0xab);
    write_u16(&writer, 0x1234);
    write_u32(&writer, 0xdeadbeef);
    write_u64(&writer, 0x0123456789abcdef);
    write_i64(&writer, -5);
    write_f32(&writer, -1.5f);
    write_string(&writer, "name");
    write_align(&writer, 8);
    size_t aligned = writer.size;
    write_align(&writer, 8);
    write_format(&writer, "%d-%s", 42, "x");
    CHECK(!writer.failed && aligned == 40);
    CHECK_INT(writer.size, 44);
    CHECK(memcmp(writer.data + 1, "\x34\x12\xef\xbe\xad\xde", 6) == 0); /* little-endian */

    ByteReader reader = byte_reader(writer.data, writer.size);
    CHECK_INT(read_u8(&reader), 0xab);
    CHECK_INT(read_u16(&reader), 0x1234);
    CHECK_INT(read_u32(&reader), 0xdeadbeef);
    CHECK_INT(read_u64(&reader), 0x0123456789abcdef);
    CHECK_INT(read_i64(&reader), -5);
    CHECK(read_f32(&reader) == -1.5f);
    CHECK_STR(read_string(&reader, &arena), "name");
    CHECK_INT(aligned - reader.position, 5);
    CHECK(read_bytes(&reader, 5) != NULL);
    CHECK(memcmp(read_bytes(&reader, 4), "42-x", 4) == 0);
    CHECK(!reader.failed && read_bytes(&reader, 0) != NULL);
    CHECK(read_u8(&reader) == 0 && reader.failed);
    arena_reset(&arena);
}

static void test_short_reads(void) {
    Arena arena = {0};
    ByteReader reader = byte_reader("\x01\x02\x03", 3);
    CHECK(read_u32(&reader) == 0 && reader.failed);
    CHECK(read_u8(&reader) == 0); /* stays failed */
    reader = byte_reader("\xff\xff\xff\xff"
                         "abc",
                         7);
    CHECK(read_string(&reader, &arena) == NULL && reader.failed);
    reader = byte_reader("\x03\0\0\0a\0c", 7);
    CHECK(read_string(&reader, &arena) == NULL && reader.failed);
    reader = byte_reader("x", 1);
    CHECK(read_bytes(&reader, SIZE_MAX) == NULL && reader.failed);
    reader = byte_reader(NULL, 0);
    CHECK(read_bytes(&reader, 0) != NULL && !reader.failed);
    arena_reset(&arena);
}

static void test_writer_out_of_memory(void) {
    Allocator allocator = {.limit = 100000};
    Arena arena;
    arena_init(&arena, &allocator);
    ByteWriter writer = byte_writer(&arena);
    for (int i = 0; i < 100000; ++i) write_u64(&writer, 7);
    CHECK(writer.failed && writer.size < 100000);
    size_t size = writer.size;
    write_format(&writer, "more");
    CHECK_INT(writer.size, size);
    arena_reset(&arena);
}

static void test_hash(void) {
    CHECK(hash_bytes("abc", 3) == hash_string("abc"));
    CHECK(hash_bytes(NULL, 0) == 0x2d06800538d394c2u); /* XXH3's value for no input */
    CHECK(hash_string("abc") != hash_string("abd"));
    CHECK(hash_combine(1, 2) != hash_combine(2, 1));
}

static void test_name_map(void) {
    Arena arena = {0};
    NameMap map = {0};
    CHECK_INT(name_map_find(&map, "x"), -1);
    for (int i = 0; i < 1000; ++i) CHECK(name_map_set(&map, &arena, arena_printf(&arena, "n%d", i), i));
    CHECK_INT(map.count, 1000);
    for (int i = 0; i < 1000; ++i) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        CHECK_INT(name_map_find(&map, name), i);
    }
    CHECK_INT(name_map_find(&map, "n1000"), -1);
    CHECK(name_map_set(&map, &arena, "n7", 70));
    CHECK_INT(name_map_find(&map, "n7"), 70);
    CHECK_INT(map.count, 1000);
    arena_reset(&arena);

    Allocator refusing = {.fail_at = 1};
    arena_init(&arena, &refusing);
    map = (NameMap){0};
    CHECK(!name_map_set(&map, &arena, "a", 1) && name_map_find(&map, "a") == -1);
    CHECK(name_map_set(&map, &arena, "a", 1) && name_map_find(&map, "a") == 1);
    arena_reset(&arena);
}

static void test_tensor(void) {
    Tensor tensor, other;
    Diag diag = {0};
    char text[64];
    int64_t dims[] = {1, 3, 224, 224};
    CHECK_OK(tensor_describe(&tensor, DTYPE_F32, 4, dims, SIZE_MAX, &diag), &diag);
    CHECK_INT(tensor_count(&tensor), 150528);
    CHECK_INT(tensor_bytes(&tensor), 602112);
    CHECK_INT(tensor_span(&tensor, 1, 3), 672);
    CHECK_INT(tensor_span(&tensor, 2, 2), 1);
    tensor_format(&tensor, text, sizeof text);
    CHECK_STR(text, "f32[1,3,224,224]");
    tensor_format(&tensor, text, 8);
    CHECK_STR(text, "f32[1,3");
    CHECK_OK(tensor_describe(&other, DTYPE_I4, 0, NULL, SIZE_MAX, &diag), &diag);
    CHECK(tensor_count(&other) == 1 && tensor_bytes(&other) == 1);
    CHECK(tensor_same_shape(&tensor, &tensor) && !tensor_same_shape(&tensor, &other));

    static const struct {
        DType dtype;
        int32_t rank;
        int64_t dims[2];
        size_t limit;
    } bad[] = {{DTYPE_NONE, 0, {0}, SIZE_MAX},
               {DTYPE_F32, -1, {0}, SIZE_MAX},
               {DTYPE_F32, 9, {0}, SIZE_MAX},
               {DTYPE_F32, 2, {2, -1}, SIZE_MAX},
               {DTYPE_F32, 2, {(int64_t)1 << 40, (int64_t)1 << 40}, SIZE_MAX},
               {DTYPE_F32, 1, {INT64_MAX}, SIZE_MAX},
               {DTYPE_F32, 2, {2, 2}, 15}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
        diag_clear(&diag);
        CHECK_INT(tensor_describe(&tensor, bad[i].dtype, bad[i].rank, bad[i].dims, bad[i].limit, &diag),
                  STATUS_BAD_DATA);
        CHECK(diag.text[0] != '\0');
    }
}

int main(void) {
    test_round_trip();
    test_short_reads();
    test_writer_out_of_memory();
    test_hash();
    test_name_map();
    test_tensor();
    return test_result();
}
