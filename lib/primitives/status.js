'use strict';

// opossum's Status: a view of a window in the core, with the `snapshot` event.

const Emitter = require('../base/emitter');
const clock = require('../base/clock');
const native = require('../base/native');
const { createBreaker } = require('../base/recorder');
const { NO_RULES, WINDOW_MS, pack, windowConfig } = require('./breaker-config');
const { COUNTER, WITH_LATENCY, importStats, note, readBucket, readStats } = require('./stats');

const free = new FinalizationRegistry(id => native.destroyBreaker(id));

class Status extends Emitter {
  /**
   * @param {object} [options]
   * @param {number} [options.rollingCountTimeout] ms, default 10000: length of the window
   * @param {number} [options.rollingCountBuckets] default 10
   * @param {boolean} [options.rollingPercentilesEnabled] default true
   * @param {boolean} [options.enableSnapshots] default true
   * @param {EventEmitter} [options.rotateBucketController] its `rotate` events replace the time
   * @param {object} [options.stats] counts to begin with
   */
  constructor (options = {}) {
    super();
    const config = windowConfig(options);
    this.rollingPercentilesEnabled = config.percentiles === 1;
    this.enableSnapshots = options.enableSnapshots !== false;
    this.rotateBucketController = options.rotateBucketController;
    this._interval = Math.max(
      Math.floor((options.rollingCountTimeout || WINDOW_MS) / config.buckets), 1);
    this._buckets = config.buckets;
    this._timer = undefined;
    this._marks = undefined;
    this._owner = undefined;
    this._stopped = false;
    this.rotateBucket = () => native.rotate(this._id);
    if (options.nativeId === undefined) {
      this._id = createBreaker(pack({ ...NO_RULES, ...config })).id;
      free.register(this, this._id, this);
    } else {
      this._id = options.nativeId;
    }
    this.startListeneningForRotateEvent();
    if (options.stats) importStats(this._id, options.stats);
  }

  /** Hands the view over to a breaker, whose window has taken in what was counted here. */
  _adopt (id, owner) {
    if (free.unregister(this)) native.destroyBreaker(this._id);
    this._id = id;
    // The window goes when its breaker goes, so whoever reads it keeps the breaker.
    this._owner = owner;
    if (owner.isShutdown) this.shutdown();
  }

  get stats () { return readStats(this._id, this.rollingPercentilesEnabled); }

  /** The buckets, newest first. */
  get window () {
    const window = Array.from({ length: this._buckets }, (_, age) => readBucket(this._id, age));
    const { _marks: marks } = this._owner === undefined ? this : this._owner._rare;
    if (marks === undefined) return window;
    const present = native.epoch(this._id);
    for (const [epoch, open] of marks) {
      const bucket = window[(present - epoch) >>> 0];
      if (bucket !== undefined) bucket.isCircuitBreakerOpen = open;
    }
    return window;
  }

  increment (property, latencyRunTime) {
    if (COUNTER[property] === undefined) return;
    native.count(this._id, COUNTER[property], 1);
    if (WITH_LATENCY.has(property)) native.addLatency(this._id, latencyRunTime || 0, 1);
  }

  /** Marks the present bucket: the circuit opened in it. */
  open () { this._note(true); }

  close () { this._note(false); }

  _note (open) {
    note(this._owner === undefined ? this : this._owner._rare, this._id, open,
      this._buckets);
  }

  shutdown () {
    this._stopped = true;
    this.removeAllListeners();
    this.removeRotateBucketControllerListener();
  }

  // opossum's spelling.
  startListeneningForRotateEvent () {
    const controller = this.rotateBucketController;
    if (controller && !controller.listeners('rotate').includes(this.rotateBucket)) {
      controller.on('rotate', this.rotateBucket);
    }
  }

  removeRotateBucketControllerListener () {
    this.rotateBucketController?.removeListener('rotate', this.rotateBucket);
  }

  // Snapshots are only made while somebody listens: an idle breaker has no timer.
  _listen () {
    const wanted = this.enableSnapshots && !this._stopped && this.listenerCount('snapshot') > 0;
    if (wanted && this._timer === undefined) {
      this._timer = clock.setTimer(() => {
        this._timer = undefined;
        this.emit('snapshot', this.stats);
        this._listen();
      }, this._interval, false);
    } else if (!wanted && this._timer !== undefined) {
      clock.clearTimer(this._timer);
      this._timer = undefined;
    }
  }
}

module.exports = Status;
