/* The walk over the wire format before protobuf-c sees it. */
#ifndef SMELT_FRONTEND_PRESCAN_H
#define SMELT_FRONTEND_PRESCAN_H

#include "frontend/proto.h"

/* The fields of TensorProto (onnx.proto) that stand for its raw bytes. */
enum { PROTO_RAW_OFFSET = 536870910, PROTO_RAW_SIZE = 536870911 };

/* Checks the model in bytes (see proto_unpack) and writes the slimmed message to out, *out_size bytes. With
 * out NULL it only counts; a second call with the same bytes writes exactly that many. */
Status prescan_model(const uint8_t *bytes, size_t size, uint8_t *out, size_t *out_size, Diag *diag);

#endif
