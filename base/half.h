/* Narrow floating-point formats. Source: IEEE 754 binary16, bfloat16, OCP 8-bit floating point (E4M3, E5M2),
 * the FNUZ variants and OCP MX (E8M0, E2M1) as ONNX defines their Cast. */
#ifndef SMELT_BASE_HALF_H
#define SMELT_BASE_HALF_H

#include "base/dtype.h"

float half_to_float(uint16_t bits);
uint16_t half_from_float(float value); /* nearest even, overflow to infinity */
/* Rounds once, straight from double: half_from_float((float)x) would round twice. */
uint16_t half_from_double(double value);
float bf16_to_float(uint16_t bits);
uint16_t bf16_from_float(float value);

/* Any 8-bit, 4-bit float dtype of dtype.def. saturate: out of range becomes the largest finite value, else
 * NaN/inf as ONNX's Cast says. */
float minifloat_to_float(DType dtype, uint8_t bits);
uint8_t minifloat_from_float(DType dtype, float value, bool saturate);

#endif
