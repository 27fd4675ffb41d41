'use strict';

// opossum's Status: a view of a window in the core, with the `snapshot` event.

const Emitter = require('../base/emitter');
const clock = require('../base/clock');
const { read } = require('../base/foreign');
const native = require('../base/native');
const { COUNTER, createBreaker } = require('../base/recorder');
const { coreConfig, readWindowOptions, windowOf } = require('./breaker-options');
const { WITH_LATENCY, importStats, markBucket, readBucket, readStats } = require('./stats');

const finalizer = new FinalizationRegistry(id => native.destroyBreaker(id));

class Status extends Emitter {
  /** Shows the window of native breaker `nativeId`; default: a window of its own. */
  constructor (options, nativeId) {
    super();
    const window = readWindowOptions(options);
    const { buckets, bucketLength } = windowOf(window);
    this.rollingPercentilesEnabled = window.rollingPercentilesEnabled;
    this.enableSnapshots = window.enableSnapshots;
    this.rotateBucketController = window.rotateBucketController;
    this._interval = bucketLength;
    this._buckets = buckets;
    this._timer = undefined;
    this._marks = undefined;
    this._owner = undefined;
    this._stopped = false;
    this.rotateBucket = () => native.rotate(this._id);
    if (nativeId === undefined) {
      this._id = createBreaker(coreConfig(window)).id;
      finalizer.register(this, this._id, this);
    } else {
      this._id = nativeId;
    }
    this.startListeneningForRotateEvent();
    const stats = read(options, 'stats');
    if (stats) importStats(this._id, stats);
  }

  /** Makes this a view of a breaker's window, which has taken over the counts of this one. */
  _adopt (id, owner) {
    if (finalizer.unregister(this)) native.destroyBreaker(this._id);
    this._id = id;
    // The window ends with its breaker, so this reference keeps the breaker.
    this._owner = owner;
    if (owner.isShutdown) this.shutdown();
  }

  /** The breaker gives up its window, which is this one's from now on, with its counts. */
  _keepWindow () {
    this._marks = this._owner._rare._marks;
    this._owner = undefined;
    finalizer.register(this, this._id, this);
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
    const counter = read(COUNTER, property);
    if (counter === undefined) return;
    native.count(this._id, counter, 1);
    if (WITH_LATENCY.has(property)) native.addLatency(this._id, latencyRunTime || 0, 1);
  }

  /** Marks the present bucket: the circuit opened in it. */
  open () { this._mark(true); }

  close () { this._mark(false); }

  _mark (open) {
    markBucket(this._owner === undefined ? this : this._owner._rare, this._id, open,
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
