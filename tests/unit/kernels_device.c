/* Descriptions of GPUs: those that are built in, files that are whole, and files that are not. */
#include "kernels/device.h"

#include "base/file.h"
#include "kernels/arch.h"
#include "test.h"

static bool same(const Device *a, const Device *b) {
    bool equal = strcmp(a->name, b->name) == 0 && strcmp(a->gpu, b->gpu) == 0 &&
                 strcmp(a->arch, b->arch) == 0 && strcmp(a->label, b->label) == 0 && a->sm == b->sm;
#define DEVICE_COUNT(key, least, most, what) equal = equal && a->key == b->key;
#define DEVICE_RATE(key, least, most, what)  equal = equal && !(a->key < b->key) && !(a->key > b->key);
#include "kernels/device.def"
#undef DEVICE_COUNT
#undef DEVICE_RATE
    return equal;
}

/* Without waiting for the disk, as file_replace does. */
static void put_file(const char *path, const void *data, size_t size) {
    (void)remove(path); /* what is cut instead waits too */
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

/* The table is what smelt's own reader makes of the files, and what is written is read again. */
static void test_built_in(void) {
    for (int32_t i = 0; i < device_count(); ++i) {
        const Device *device = device_at(i), *read = NULL;
        Arena arena = {0};
        Diag diag = {0};
        ByteWriter text = byte_writer(&arena);
        char *path = arena_printf(&arena, "%s/kernels/gpus/%s.gpu", SMELT_SOURCE_DIR, device->name);
        CHECK_OK(device_read(path, &arena, &read, &diag), &diag);
        CHECK(same(device, read));
        CHECK(i == 0 || strcmp(device_at(i - 1)->name, device->name) < 0);
        device_write(device, &text);
        put_file("written.gpu", text.data, text.size);
        CHECK_OK(device_read("written.gpu", &arena, &read, &diag), &diag);
        CHECK(same(device, read));
        arena_reset(&arena);
    }
    for (int32_t i = 0; i < arch_count(); ++i)
        CHECK(arch_at(i) != NULL && arch_find(arch_at(i)->arch) == arch_at(i));
    CHECK(device_find("h200") == arch_find("sm_90") && device_find("h300") == NULL);
    CHECK_STR(device_find("h200")->label, "measured");
    CHECK(device_for_gpu("NVIDIA H200") == device_find("h200") && device_for_gpu("Another") == NULL);
}

/* Every cut and every changed byte of a file with a hash is noticed. */
static void test_damage(void) {
    Arena arena = {0};
    const Device *read;
    ByteWriter text = byte_writer(&arena);
    device_write(device_find("t4"), &text);
    for (size_t i = 0; i < text.size; ++i) {
        Diag why = {0};
        put_file("damaged.gpu", text.data, i);
        CHECK_INT(device_read("damaged.gpu", &arena, &read, &why), STATUS_BAD_DATA);
        text.data[i] ^= 1;
        put_file("damaged.gpu", text.data, text.size);
        CHECK_INT(device_read("damaged.gpu", &arena, &read, &why), STATUS_BAD_DATA);
        text.data[i] ^= 1;
    }
    arena_reset(&arena);
}

/* The T4's description with one line replaced (by nothing: left out). */
static void expect(const char *old, const char *new, const char *message) {
    Arena arena = {0};
    Diag diag = {0};
    FileMap map;
    const Device *read;
    CHECK_OK(file_map(SMELT_SOURCE_DIR "/kernels/gpus/t4.gpu", &map, &diag), &diag);
    char *text = arena_strndup(&arena, (const char *)map.data, map.size), *at = strstr(text, old);
    CHECK(at != NULL);
    char *changed = arena_printf(&arena, "%.*s%s%s", (int)(at - text), text, new, at + strlen(old));
    put_file("changed.gpu", changed, strlen(changed));
    CHECK_INT(device_read("changed.gpu", &arena, &read, &diag), STATUS_BAD_DATA);
    if (strstr(diag.text, message) == NULL) CHECK_STR(diag.text, message);
    CHECK_STR(diag.context[DIAG_FILE], "changed.gpu");
    file_unmap(&map);
    arena_reset(&arena);
}

static void test_wrong_lines(void) {
    expect("smelt-gpu 1", "smelt-gpu 2", "line 1: expected 'smelt-gpu 1': a description of another version");
    expect("sm_count 40", "sm_count 0", "sm_count is '0', expected an integer from 1 to 4096");
    expect("sm_count 40", "sm_count 40.5", "expected an integer");
    expect("sm_count 40", "sm_count 4 0", "expected an integer");
    expect("sm_count 40", "sm_count", "expected 'key value', found 'sm_count'");
    expect("sm_count 40\n", "", "'sm_count' is missing");
    expect("sm_count 40", "sm_count 40\nsm_count 40", "'sm_count' is there twice");
    expect("sm_count 40", "sm_counts 40", "unknown key 'sm_counts'");
    expect("fp32_tflops 8.1", "fp32_tflops nan",
           "fp32_tflops is 'nan', expected a number from 0.001 to 1000000");
    expect("fp32_tflops 8.1", "fp32_tflops 1e99", "expected a number");
    expect("fp32_tflops 8.1", "fp32_tflops -1", "expected a number");
    expect("shared_per_sm 65536", "shared_per_sm 32768", "shared_per_block is more than shared_per_sm");
    expect("arch sm_75", "arch sm_70", "arch 'sm_70' is none that smelt makes code for");
    expect("label specification", "label guess", "label 'guess' is not measured or specification");
    expect("name t4", "name a,b", "name 'a,b' has one of");
    expect("gpu Tesla T4", "gpu \x01", "gpu: a character that is not ASCII");
    expect("gpu Tesla T4", "gpu ", "gpu: expected 1 to 64 characters");
    expect("\nend\n", "\n", "the end is missing: the file was cut off");
    expect("\nend\n", "\nend 0123456789abcdef\n", "the hash does not fit");
    expect("\nend\n", "\nend\nname x\n", "text behind the end");
}

static void test_lists(void) {
    Arena arena = {0};
    Diag diag = {0};
    DeviceList list;
    CHECK_OK(device_list_parse("sm_80,h100," SMELT_SOURCE_DIR "/kernels/gpus/t4.gpu", NULL, NULL, &arena,
                               &list, &diag),
             &diag);
    CHECK_INT(list.count, 3);
    CHECK_STR(device_list_text(&list, &arena),
              "a100 (specification), h100 (specification), t4 (specification)");
    static const char *const wrong[][2] = {{"sm_1", "unknown GPU architecture 'sm_1'"},
                                           {"x100", "unknown GPU 'x100'"},
                                           {"", "unknown GPU ''"},
                                           {"native", "unknown GPU 'native'"},
                                           {"sm_80,sm_80", "GPU architecture 'sm_80' is given twice"},
                                           {"h100,sm_90", "'h100' and 'h200' are both sm_90a"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
        Diag why = {0};
        CHECK_INT(device_list_parse(wrong[i][0], NULL, NULL, &arena, &list, &why), STATUS_USAGE);
        CHECK(strstr(why.text, wrong[i][1]) != NULL);
    }
    CHECK_INT(device_list_parse("./absent.gpu", NULL, NULL, &arena, &list, &diag), STATUS_IO);
    arena_reset(&arena);
}

int main(void) {
    test_built_in();
    test_damage();
    test_wrong_lines();
    test_lists();
    return test_result();
}
