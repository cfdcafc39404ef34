/* The element-wise part of each recurrent cell, for one vector of units. Forward, `c` is the cell state,
 * before the step and after it. Backward, `dh` is the gradient of the hidden state, `c` the cell state
 * before the step, and `carried` the part of the state's gradient that does not go through weights: that
 * of this step is replaced by that of the step before. */

#define SIGMOID NAME(sigmoid)
#define TANH NAME(tanh)

/* `sums` are the gates. The gates after their activation and the cell state are saved. */
INLINE VEC NAME(forward_lstm)(const VEC *sums, VEC *c, VEC *saved) {
    const VEC i = SIGMOID(sums[0]), f = SIGMOID(sums[1]), g = TANH(sums[2]), o = SIGMOID(sums[3]);
    *c = f * *c + i * g;
    saved[0] = i, saved[1] = f, saved[2] = g, saved[3] = o, saved[4] = *c;
    return o * TANH(*c);
}

INLINE void NAME(backward_lstm)(VEC dh, const VEC *saved, VEC c, VEC *carried, VEC *grads) {
    const VEC i = saved[0], f = saved[1], g = saved[2], o = saved[3], squashed = TANH(saved[4]);
    const VEC dc = *carried + dh * o * (1.0f - squashed * squashed);
    *carried = dc * f;
    grads[0] = dc * g * i * (1.0f - i);
    grads[1] = dc * c * f * (1.0f - f);
    grads[2] = dc * i * (1.0f - g * g);
    grads[3] = dh * squashed * o * (1.0f - o);
}

INLINE VEC NAME(forward_peephole)(const VEC *sums, const VEC *extra, VEC *c, VEC *saved) {
    const VEC i = SIGMOID(sums[0] + extra[0] * *c), f = SIGMOID(sums[1] + extra[1] * *c);
    const VEC g = TANH(sums[2]);
    *c = f * *c + i * g;
    const VEC o = SIGMOID(sums[3] + extra[2] * *c);
    saved[0] = i, saved[1] = f, saved[2] = g, saved[3] = o, saved[4] = *c;
    return o * TANH(*c);
}

INLINE void NAME(backward_peephole)(VEC dh, const VEC *saved, const VEC *extra, VEC c, VEC *carried,
                                    VEC *grads) {
    /* The output gate sees the cell state of this step, the other two see that of the step before. */
    *carried += extra[2] * dh * TANH(saved[4]) * saved[3] * (1.0f - saved[3]);
    NAME(backward_lstm)(dh, saved, c, carried, grads);
    *carried += extra[0] * grads[0] + extra[1] * grads[1];
}

INLINE VEC NAME(forward_coupled)(const VEC *sums, VEC *c, VEC *saved) {
    const VEC f = SIGMOID(sums[0]), g = TANH(sums[1]), o = SIGMOID(sums[2]);
    *c = g + f * (*c - g);
    saved[0] = f, saved[1] = g, saved[2] = o, saved[3] = *c;
    return o * TANH(*c);
}

INLINE void NAME(backward_coupled)(VEC dh, const VEC *saved, VEC c, VEC *carried, VEC *grads) {
    const VEC f = saved[0], g = saved[1], o = saved[2], squashed = TANH(saved[3]);
    const VEC dc = *carried + dh * o * (1.0f - squashed * squashed);
    *carried = dc * f;
    grads[0] = dc * (c - g) * f * (1.0f - f);
    grads[1] = dc * (1.0f - f) * (1.0f - g * g);
    grads[2] = dh * squashed * o * (1.0f - o);
}

/* Gates are r, z, n. The last sum has only what the hidden state adds, `x` what the input does. */
INLINE VEC NAME(forward_gru)(const VEC *sums, VEC x, VEC h, VEC *saved) {
    const VEC r = SIGMOID(sums[0]), z = SIGMOID(sums[1]), n = TANH(x + r * sums[2]);
    saved[0] = r, saved[1] = z, saved[2] = n, saved[3] = sums[2], saved[4] = h;
    return n + z * (h - n);
}

INLINE void NAME(backward_gru)(VEC dh, const VEC *saved, VEC *carried, VEC *grads) {
    const VEC r = saved[0], z = saved[1], n = saved[2];
    dh += *carried;
    *carried = dh * z;
    const VEC dn = dh * (1.0f - z) * (1.0f - n * n);
    grads[0] = dn * saved[3] * r * (1.0f - r);
    grads[1] = dh * (saved[4] - n) * z * (1.0f - z);
    grads[2] = dn * r;
    grads[3] = dn;
}

/* The step of a cell, which is a constant wherever this is inlined. Returns the hidden state; `h` and
 * `c` are the state before, `x` what the input adds to the last gate. */
INLINE VEC NAME(forward_cell)(const int cell, const VEC *sums, VEC x, const VEC *extra, VEC h, VEC *c,
                              VEC *saved) {
    switch (cell) {
        case LSTM: return NAME(forward_lstm)(sums, c, saved);
        case LSTM_PEEPHOLE: return NAME(forward_peephole)(sums, extra, c, saved);
        case LSTM_COUPLED: return NAME(forward_coupled)(sums, c, saved);
        case GRU: return NAME(forward_gru)(sums, x, h, saved);
        case ELMAN: return saved[0] = TANH(sums[0]);
        default: return saved[0] = NAME(select)(sums[0] < 0.0f, (VEC){0}, sums[0]);
    }
}

/* The same backward: `c` is the cell state before, `grads` takes the gradient of the gates. */
INLINE void NAME(backward_cell)(const int cell, VEC dh, const VEC *saved, const VEC *extra, VEC c,
                                VEC *carried, VEC *grads) {
    switch (cell) {
        case LSTM: NAME(backward_lstm)(dh, saved, c, carried, grads); break;
        case LSTM_PEEPHOLE: NAME(backward_peephole)(dh, saved, extra, c, carried, grads); break;
        case LSTM_COUPLED: NAME(backward_coupled)(dh, saved, c, carried, grads); break;
        case GRU: NAME(backward_gru)(dh, saved, carried, grads); break;
        case ELMAN: grads[0] = dh * (1.0f - saved[0] * saved[0]); break;
        default: grads[0] = NAME(select)(saved[0] > 0.0f, dh, (VEC){0});
    }
}

#undef SIGMOID
#undef TANH
