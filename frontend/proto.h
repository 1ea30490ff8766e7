/* From a file's bytes to an unpacked ModelProto. */
#ifndef SMELT_FRONTEND_PROTO_H
#define SMELT_FRONTEND_PROTO_H

#include <onnx.pb-c.h>

#include "base/memory.h"
#include "base/status.h"

/* protobuf-c bounds neither nesting nor size and copies every payload. So the wire format is walked first:
 * BAD_MODEL (with the byte offset) for what is truncated, malformed, nested deeper than 64 messages or out of
 * proportion when unpacked. What is then unpacked is a copy without unknown fields and without raw tensor
 * bytes; tensors carry the place of those in `bytes` instead (raw_offset, raw_size, checked to lie inside).
 * All memory of *out is in arena. */
Status proto_unpack(const uint8_t *bytes, size_t size, Arena *arena, Onnx__ModelProto **out, Diag *diag);

/* The text of an optional string field. */
static inline const char *proto_text(const char *text) {
    return text != NULL ? text : "";
}

#endif
