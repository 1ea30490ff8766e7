#include "frontend/proto.h"

#include "frontend/prescan.h"

static void *proto_alloc(void *arena, size_t size) {
    return arena_alloc(arena, size);
}

/* The arena is released as a whole. */
static void proto_free(void *arena, void *memory) {
    (void)arena;
    (void)memory;
}

static Status unpack_slim(const uint8_t *slim, size_t size, Arena *arena, Onnx__ModelProto **out,
                          Diag *diag) {
    ProtobufCAllocator allocator = {.alloc = proto_alloc, .free = proto_free, .allocator_data = arena};
    *out = onnx__model_proto__unpack(&allocator, size, slim);
    /* The prescan has accepted the bytes, so nothing but memory can be missing. */
    TRY_ALLOC(diag, *out);
    return STATUS_OK;
}

Status proto_unpack(const uint8_t *bytes, size_t size, Arena *arena, Onnx__ModelProto **out, Diag *diag) {
    size_t slim_size;
    *out = NULL;
    if (size == 0) return FAIL(diag, STATUS_BAD_MODEL, "the file is empty");
    TRY(prescan_model(bytes, size, NULL, &slim_size, diag));
    uint8_t *slim = mem_alloc(arena->allocator, slim_size + 1);
    TRY_ALLOC(diag, slim);
    Status status = prescan_model(bytes, size, slim, &slim_size, diag);
    if (status == STATUS_OK) status = unpack_slim(slim, slim_size, arena, out, diag);
    mem_free(arena->allocator, slim);
    return status;
}
