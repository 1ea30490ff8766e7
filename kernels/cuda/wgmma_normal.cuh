// Instance and group normalisation, with what follows element by element, of what a kernel reads: the copy engine brings it to
// shared memory as it lies, and there each element is done once before matrix instructions read it. sm_90a alone.
#ifndef SMELT_WGMMA_NORMAL_CUH
#define SMELT_WGMMA_NORMAL_CUH

#include "smelt/moments.cuh"
#include "smelt/wgmma.cuh"

namespace smelt {

// Channels [first, end) of `all`, in units of `width`, each of which has a mean of its own over so many places.
struct PlaneUnits {
    Index first, end, all, width, places;
    SMELT_DEVICE Index unit_of(Index channel) const { return quotient(channel, width) * width; }
};
// What teams of THREADS threads have of up to CHANNELS channels, whole units.
template <int THREADS, int CHANNELS> struct TeamSums {
    static const int teams = CHANNELS < THREADS ? THREADS / CHANNELS : 1;
    Pack<float, 2> at[teams * CHANNELS];
};

// Scale and shift of each of the channels, from the moments of `count` parts; counts: as for merge_parts, of one batch entry.
// By the first THREADS threads of the block.
template <int THREADS, int CHANNELS, class C, class Finish, int MOST>
SMELT_DEVICE void find_scales(const float *parts, const C &counts, Index count, const PlaneUnits &units, const Finish &finish,
                              TeamSums<THREADS, CHANNELS> &sums, Pack<float, 2> (&scales)[MOST]) {
    const int TEAMS = TeamSums<THREADS, CHANNELS>::teams, OWN = (MOST + THREADS - 1) / THREADS;
    const Index begin = units.unit_of(units.first);
    float scale[OWN], shift[OWN], near[OWN]; // of the thread's channels, asked for long before they are needed
#pragma unroll
    for (int i = 0; i < OWN; ++i) {
        const Index channel = units.first + (Index)threadIdx.x + i * THREADS;
        if (channel >= units.end) continue;
        finish.scales(channel, scale[i], shift[i]);
        near[i] = parts[2 * units.unit_of(channel)];
    }
    for (int at = (int)threadIdx.x; at < TEAMS * CHANNELS; at += THREADS) {
        const Index channel = begin + at % CHANNELS;
        float sum = 0, square = 0; // of what differs from a number near all of the unit
        if (channel < units.all) {
            const float from = parts[2 * units.unit_of(channel)];
#pragma unroll 8
            for (Index part = at / CHANNELS; part < count; part += TEAMS) {
                const Pack<float, 2> moments = load_pack<2>(parts, 2 * (part * units.all + channel));
                const float n = (float)counts.count(0, part), apart = moments.at[0] - from;
                sum += n * apart;
                square += moments.at[1] + n * apart * apart;
            }
        }
        sums.at[at] = {{sum, square}};
    }
    consumers_wait<THREADS>();
#pragma unroll
    for (int i = 0; i < OWN; ++i) {
        const Index channel = units.first + (Index)threadIdx.x + i * THREADS, first = units.unit_of(channel) - begin;
        if (channel >= units.end) continue;
        float sum = 0, square = 0;
        for (int team = 0; team < TEAMS; ++team)
            for (Index c = first; c < first + units.width; ++c) {
                sum += sums.at[team * CHANNELS + c].at[0];
                square += sums.at[team * CHANNELS + c].at[1];
            }
        const float all = (float)units.places * (float)units.width, apart = sum / all;
        PlaneScale<float> own;
        own.set(near[i] + apart, finish.inverse(larger(square / all - apart * apart, 0.0f)), scale[i], shift[i]);
        scales[channel - units.first] = {{own.scale, own.shift}};
    }
    consumers_wait<THREADS>();
}

// What is normalised is stored as well, or not: packs of channels of a place, at these distances between planes, lines and
// places. PACKED: they are packs in memory, too.
struct NormalDrop {
    static const bool keeps = false;
};
template <class T, bool PACKED> struct NormalKeep {
    static const bool keeps = true;
    T *to;
    Index step[3];
    SMELT_DEVICE void put(Index plane, Index line, Index place, int channel, const Pack<T, 8> &pack) const {
        T *own = to + ((i64)plane * step[0] + line * step[1] + place * step[2] + channel);
        if (PACKED) {
            const float *words = reinterpret_cast<const float *>(&pack);
            global_put(own, words[0], words[1], words[2], words[3]);
        } else {
#pragma unroll
            for (int l = 0; l < 8; ++l) own[l] = pack.at[l];
        }
    }
};

// Element x of channel c becomes activate(x * scale + shift). One batch entry. counts: as for merge_parts, of `count` parts;
// width: channels of a unit, which has `places` places. Finish, Activate: generated.
template <int CHANNELS, class C, class Finish, class Activate, class Keep> struct PlaneNormal {
    static const bool normalizes = true;
    typedef Keep Keeps;
    static const int channels = CHANNELS;
    typedef Pack<float, 2> Scales[CHANNELS]; // scale and shift
    struct Factors { float scale[8], shift[8]; };
    const float *parts;
    const C &counts;
    Index count, width, places;
    const Finish &finish;
    const Activate &activate;
    Keep keep;

    // By the first THREADS threads of the block.
    template <int THREADS> SMELT_DEVICE void find(Scales &scales) const {
        __shared__ TeamSums<THREADS, CHANNELS> sums;
        find_scales(parts, counts, count, PlaneUnits{0, CHANNELS, CHANNELS, width, places}, finish, sums, scales);
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
    // A pack in shared memory, of the factors' channels.
    template <class T> static SMELT_DEVICE void get(u32 at, Pack<T, 8> &pack) {
        float *words = reinterpret_cast<float *>(&pack);
        shared_get(at, words[0], words[1], words[2], words[3]);
    }
    // Gives what is stored.
    template <class T> SMELT_DEVICE Pack<T, 8> put_normal(u32 at, const Pack<T, 8> &pack, const Factors &own) const {
        float x[8];
#pragma unroll
        for (int l = 0; l < 8; ++l) x[l] = activate((Index)0, fetch(pack.at[l]) * own.scale[l] + own.shift[l]);
        const Pack<T, 8> made = narrowed<T>(x);
        const float *words = reinterpret_cast<const float *>(&made);
        shared_put(at, words[0], words[1], words[2], words[3]);
        return made;
    }
    template <class T> SMELT_DEVICE void apply(u32 at, const Factors &own) const {
        Pack<T, 8> pack;
        get(at, pack);
        put_normal(at, pack, own);
    }
};
template <int CHANNELS, class C, class Finish, class Activate, class Keep>
SMELT_DEVICE PlaneNormal<CHANNELS, C, Finish, Activate, Keep> plane_normal(const float *parts, const C &counts, Index count,
                                                                           Index width, Index places, const Finish &finish,
                                                                           const Activate &activate, const Keep &keep) {
    return {parts, counts, count, width, places, finish, activate, keep};
}

} // namespace smelt

#endif
