// The exact Bloch engine on a GPU, part 2 of 3: free precession and pulses of single spins. Frame and signs:
// see program.py; formulas: see kernel_free.py and kernel_pulse.py.

INLINE Exchange exchange(const Tables& t, double time, i64 i) {
    const double to = get(t.bound, t.spins + i), back = get(t.bound, 2 * t.spins + i);
    const double a = -(double(get(t.r1, i)) + to), d = -(double(get(t.bound, 3 * t.spins + i)) + back);
    const double mean = 0.5 * (a + d), half = 0.5 * (a - d), root = sqrt(half * half + to * back);
    const double slow = exp((mean + root) * time), fast = exp((mean - root) * time);
    const double even = 0.5 * (slow + fast);
    const double odd = root * time > 1e-6 ? 0.5 * (slow - fast) / root : slow * time;
    return {REAL(even + odd * half - 1.0), REAL(odd * back), REAL(odd * to), REAL(even - odd * half - 1.0),
            get(t.m0, i), get(t.bound, i)};
}

INLINE void apply(const Exchange& e, Spin& spin) {
    const REAL p = spin.z - e.m0, q = spin.zb - e.b0;
    spin.z += e.zz * p + e.zb * q;
    spin.zb += e.bz * p + e.bb * q;
}

INLINE void free_precession(const Tables& t, i64 op, i64 i, Spin& spin) {
    const double time = get(t.time, op);
    double p = phase(t, t.dphi + op * t.fields, t.fields, i);
    if (t.shift) p += diffuse(t, op, i);
    REAL c, s;
    turn_by(wrap(p), c, s);
    const REAL e2 = decay(REAL(time) * get(t.r2, i)), x = spin.x, y = spin.y;
    spin.x = (x * c + y * s) * e2;
    spin.y = (y * c - x * s) * e2;
    if (t.bound) {
        apply(exchange(t, time, i), spin);
    } else {
        const REAL m0 = get(t.m0, i);
        spin.z = m0 + (spin.z - m0) * decay(REAL(time) * get(t.r1, i));
    }
}

INLINE void relax(REAL l1, REAL l2, REAL m0, Spin& spin) {
    spin.x -= l2 * spin.x;
    spin.y -= l2 * spin.y;
    spin.z += l1 * (m0 - spin.z);
}

// Rotate about (B1, w) [rad] by Rodrigues' formula without a unit vector, then lose (l1, l2). What changes is
// summed before it is added: relaxation over a microsecond alone would often be rounded away in float.
INLINE void rotate(REAL br, REAL bi, const Drive& d, REAL l1, REAL l2, REAL m0, Spin& spin) {
    const REAL bx = br * d.px - bi * d.py, by = br * d.py + bi * d.px, bz = d.w;
    REAL s, c;
    rotation_series(bx * bx + by * by + bz * bz, s, c);
    const REAL ax = spin.y * bz - spin.z * by, ay = spin.z * bx - spin.x * bz, az = spin.x * by - spin.y * bx;
    const REAL dx = s * ax + c * (ay * bz - az * by);
    const REAL dy = s * ay + c * (az * bx - ax * bz);
    const REAL dz = s * az + c * (ax * by - ay * bx);
    spin.x += dx - l2 * (spin.x + dx);
    spin.y += dy - l2 * (spin.y + dy);
    spin.z += dz + l1 * (m0 - (spin.z + dz));
}

INLINE Drive transmit(const Tables& t, i64 op, i64 i) {
    const REAL* field = t.transmit + 2 * get(t.shim, op) * t.spins;
    const REAL c = get(t.turn, 2 * op), s = get(t.turn, 2 * op + 1);
    const REAL re = get(field, i), im = get(field, t.spins + i);
    return {re * c - im * s, re * s + im * c, 0, 0, 0, 0, 0};
}

INLINE void set_losses(const Tables& t, REAL half, i64 i, Drive& d) {
    d.h1 = t.bound ? REAL(0) : lost(half * get(t.r1, i));  // two pools relax by their exchange
    d.h2 = lost(half * get(t.r2, i));
    d.g1 = d.h1 * (2 - d.h1);
    d.g2 = d.h2 * (2 - d.h2);
}

// One run of equal time steps: rotations with relaxation split evenly around each.
INLINE void play_run(const Tables& t, i64 run, i64 line, i64 lo, Drive (&d)[SPINS], Spin (&spin)[SPINS]) {
    const double dt = get(t.dt, run);
    const i64 from = get(t.run, run), to = get(t.run, run + 1);
    const REAL half = REAL(0.5 * dt), density = REAL(3.14159265358979324 / dt);
    Exchange e[SPINS];
    EACH(k) {
        const i64 i = lo + k * THREADS;
        set_losses(t, half, i, d[k]);
        if (t.bound) e[k] = exchange(t, 0.5 * dt, i);
        relax(d[k].h1, d[k].h2, get(t.m0, i), spin[k]);
    }
    for (i64 step = from; step < to; ++step) {
        const REAL br = get(t.b1, 2 * step), bi = get(t.b1, 2 * step + 1);
        const double* row = t.gain + step * t.pulse_fields;
        const bool moved = step == from || !get(t.same, step), last = step + 1 == to;
        EACH(k) {
            const i64 i = lo + k * THREADS;
            if (moved) d[k].w = REAL(6.28318530717958648 * phase(t, row, t.pulse_fields, i));
            if (t.bound) {
                const REAL power = density * (br * br + bi * bi) * (d[k].px * d[k].px + d[k].py * d[k].py);
                apply(e[k], spin[k]);
                spin[k].zb -= spin[k].zb * lost(power * get(t.bound, line * t.spins + i));
            }
            const REAL l1 = last ? d[k].h1 : d[k].g1, l2 = last ? d[k].h2 : d[k].g2;
            rotate(br, bi, d[k], l1, l2, get(t.m0, i), spin[k]);
            if (t.bound) apply(e[k], spin[k]);
        }
    }
}

INLINE void play_pulse(const Tables& t, i64 op, i64 lo, Spin (&spin)[SPINS]) {
    const i64 number = get(t.link, op), end = get(t.pulse, number + 1);
    Drive d[SPINS];
    EACH(k) d[k] = transmit(t, op, lo + k * THREADS);
    for (i64 run = get(t.pulse, number); run < end; ++run) play_run(t, run, get(t.line, number), lo, d, spin);
}
