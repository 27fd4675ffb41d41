'use strict';

// opossum's Status: a view of a window in the core, with the `snapshot` event.

const Emitter = require('../base/emitter');
const clock = require('../base/clock');
const { read } = require('../base/foreign');
const native = require('../base/native');
const { COUNTER, createBreaker } = require('../base/recorder');
const { coreConfig, readWindowOptions, windowOf } = require('./breaker-options');
const { Buckets, WITH_LATENCY, importStats, readStats } = require('./stats');

const finalizer = new FinalizationRegistry(id => native.destroyBreaker(id));

// Not for JSON, nor for those who list the fields.
const hidden = { value: undefined, writable: true };
const FIELDS = {
  _interval: hidden, _timer: hidden, _stopped: hidden, _owner: hidden, _buckets: hidden,
};

class Status extends Emitter {
  /** Shows the window of a breaker; default: a window of its own. */
  constructor (options, owner) {
    super();
    Object.defineProperties(this, FIELDS);
    const window = readWindowOptions(options);
    const { buckets, bucketLength } = windowOf(window);
    this.rollingPercentilesEnabled = window.rollingPercentilesEnabled;
    this.enableSnapshots = window.enableSnapshots;
    this.rotateBucketController = window.rotateBucketController;
    this._interval = bucketLength;
    this._timer = undefined;
    this._stopped = false;
    this.rotateBucket = () => native.rotate(this._buckets.id);
    // The window ends with its breaker, so this reference keeps the breaker.
    this._owner = owner;
    this._buckets = owner === undefined
      ? new Buckets(createBreaker(coreConfig(window)).id, buckets)
      : owner._buckets;
    if (owner === undefined) finalizer.register(this, this._buckets.id);
    this.startListeneningForRotateEvent();
    const stats = read(options, 'stats');
    if (stats) importStats(this._buckets.id, stats);
    if (owner?.isShutdown) this.shutdown();
  }

  /** The breaker gives up its window, which is this one's from now on, with its counts. */
  _keepWindow () {
    this._owner = undefined;
    finalizer.register(this, this._buckets.id);
  }

  get stats () { return readStats(this._buckets.id, this.rollingPercentilesEnabled); }

  /** The buckets, newest first. */
  get window () { return this._buckets.list(); }

  increment (property, latencyRunTime) {
    const counter = read(COUNTER, property);
    if (counter === undefined) return;
    native.count(this._buckets.id, counter, 1);
    if (WITH_LATENCY.has(property)) {
      native.addLatency(this._buckets.id, latencyRunTime > 0 ? Number(latencyRunTime) : 0, 1);
    }
  }

  /** Marks the present bucket: the circuit opened in it. */
  open () { this._buckets.mark(true); }

  close () { this._buckets.mark(false); }

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
