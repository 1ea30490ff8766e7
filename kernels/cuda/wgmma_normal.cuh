// Instance and group normalisation, with what follows element by element, of what a kernel reads: the copy engine brings it to
// shared memory as it lies, and there each element is done once before matrix instructions read it. sm_90a alone.
#ifndef SMELT_WGMMA_NORMAL_CUH
#define SMELT_WGMMA_NORMAL_CUH

#include "smelt/moments.cuh"
#include "smelt/wgmma.cuh"

namespace smelt {

// Element x of channel c becomes activate(x * scale + shift). One batch entry. counts: as for merge_parts, of `count` parts;
// width: channels of a unit, which has `places` places. Finish, Activate: generated.
template <int CHANNELS, class C, class Finish, class Activate> struct PlaneNormal {
    static const bool normalizes = true;
    static const int channels = CHANNELS;
    typedef Pack<float, 2> Scales[CHANNELS]; // scale and shift
    struct Factors { float scale[8], shift[8]; };
    const float *parts;
    const C &counts;
    Index count, width, places;
    const Finish &finish;
    const Activate &activate;

    SMELT_DEVICE float near(Index channel) const { return parts[2 * (quotient(channel, width) * width)]; }
    // By the first THREADS threads of the block.
    template <int THREADS> SMELT_DEVICE void find(Scales &scales) const {
        const int TEAMS = CHANNELS < THREADS ? THREADS / CHANNELS : 1;
        __shared__ Pack<float, 2> sums[TEAMS * CHANNELS];
        for (int at = (int)threadIdx.x; at < TEAMS * CHANNELS; at += THREADS) {
            const Index channel = at % CHANNELS;
            const float from = near(channel);
            float sum = 0, square = 0; // of what differs from a number near all of the unit
#pragma unroll 8
            for (Index part = at / CHANNELS; part < count; part += TEAMS) {
                const Pack<float, 2> moments = load_pack<2>(parts, 2 * (part * CHANNELS + channel));
                const float n = (float)counts.count(0, part), apart = moments.at[0] - from;
                sum += n * apart;
                square += moments.at[1] + n * apart * apart;
            }
            sums[at] = {{sum, square}};
        }
        consumers_wait<THREADS>();
        for (Index channel = (Index)threadIdx.x; channel < CHANNELS; channel += THREADS) {
            const Index first = quotient(channel, width) * width;
            float sum = 0, square = 0, scale, shift;
            for (int team = 0; team < TEAMS; ++team)
                for (Index c = first; c < first + width; ++c) {
                    sum += sums[team * CHANNELS + c].at[0];
                    square += sums[team * CHANNELS + c].at[1];
                }
            const float all = (float)places * (float)width, apart = sum / all;
            PlaneScale<float> own;
            finish.scales(channel, scale, shift);
            own.set(near(channel) + apart, finish.inverse(larger(square / all - apart * apart, 0.0f)), scale, shift);
            scales[channel] = {{own.scale, own.shift}};
        }
        consumers_wait<THREADS>();
    }
    SMELT_DEVICE Factors factors(const Scales &scales, int channel) const {
        Factors own;
#pragma unroll
        for (int l = 0; l < 8; ++l) {
            own.scale[l] = scales[channel + l].at[0];
            own.shift[l] = scales[channel + l].at[1];
        }
        return own;
    }
    // Of a pack in shared memory, of the factors' channels.
    template <class T> SMELT_DEVICE void apply(u32 at, const Factors &own) const {
        Pack<T, 8> pack;
        float *words = reinterpret_cast<float *>(&pack);
        shared_get(at, words[0], words[1], words[2], words[3]);
#pragma unroll
        for (int l = 0; l < 8; ++l)
            put(pack.at[l], activate((Index)0, fetch(pack.at[l]) * own.scale[l] + own.shift[l]));
        shared_put(at, words[0], words[1], words[2], words[3]);
    }
};
template <int CHANNELS, class C, class Finish, class Activate>
SMELT_DEVICE PlaneNormal<CHANNELS, C, Finish, Activate> plane_normal(const float *parts, const C &counts, Index count, Index width,
                                                                     Index places, const Finish &finish, const Activate &activate) {
    return {parts, counts, count, width, places, finish, activate};
}

} // namespace smelt

#endif
