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

/* The same for runs, vectorised. in and out do not overlap. */
void half_to_float_run(const uint16_t *in, int64_t count, float *out);
void half_from_float_run(const float *in, int64_t count, uint16_t *out);
void bf16_to_float_run(const uint16_t *in, int64_t count, float *out);
void bf16_from_float_run(const float *in, int64_t count, uint16_t *out);

/* The float next to value that is odd in its last bit, or value itself where it is exact. Rounding it again
 * to any format with at most 22 significant bits gives what rounding the double once would give. Source:
 * Boldo & Melquiond, "When double rounding is odd", 2005. */
float float_odd_from_double(double value);

/* Any 8-bit, 4-bit float dtype of dtype.def. saturate: out of range becomes the largest finite value, else
 * NaN/inf as ONNX's Cast says; f4e2m1 always saturates and has no NaN, for which it takes -0.
 * Nearest even; f8e8m0 as e8m0_from_float does with E8M0_NEAREST. */
float minifloat_to_float(DType dtype, uint8_t bits);
uint8_t minifloat_from_float(DType dtype, float value, bool saturate);

/* f8e8m0 holds powers of two only; the sign of value is dropped. round is Cast's round_mode: nearest sends
 * ties up. */
typedef enum E8m0Round { E8M0_NEAREST, E8M0_UP, E8M0_DOWN } E8m0Round;
uint8_t e8m0_from_float(float value, E8m0Round round, bool saturate);

#endif
