'use strict';

// Native functions throw when our own JavaScript calls them wrongly, and never take one thing for
// another.

const native = require('../../lib/base/native');
const { createBreaker } = require('../../lib/base/recorder');
const { coreConfig, readOptions } = require('../../lib/primitives/breaker-options');

const makeBreaker = () => createBreaker(coreConfig(readOptions({}))).id;

// The first breaker is there to be taken for another one.
beforeAll(() => { makeBreaker(); });

const OF_BREAKERS = ['admit', 'abandon', 'success', 'failure', 'trip', 'moveTo', 'poll', 'openFor',
  'transitions', 'hasFreeProbe', 'isWarming', 'rotate', 'count', 'addLatency', 'stats', 'forget',
  'repairs', 'epoch', 'destroyBreaker'];
const OF_LIMITS = ['destroyBulkhead', 'acquireBulkhead', 'acquireBulkheadForLine',
  'mustYieldBulkhead', 'releaseBulkhead', 'bulkheadInUse', 'bulkheadHeld', 'bulkheadRepairs',
  'destroyTokenBucket', 'takeTokens', 'waitForTokens', 'tokensAvailable', 'destroyRetryBudget',
  'depositRetryBudget', 'withdrawRetryBudget', 'retryBudgetBalance', 'destroyAdaptiveLimit',
  'beginAdaptive', 'endAdaptive', 'adaptiveLimit', 'adaptiveActive', 'adaptiveBaseLatency',
  'destroyFaultInjector', 'nextFault', 'faultDelay', 'faultCount', 'destroyHedgeDelay',
  'hedgeDelay', 'addHedgeLatency', 'destroyLoadShedder', 'addLoopDelay', 'admitLoad',
  'loadPressure', 'loadDelay'];
const WRONG = [undefined, null, NaN, -1, 0.5, 2 ** 32, 2 ** 32 - 1, 1e9, Infinity, 'x', {}];

test.each(OF_BREAKERS)('%s: ids that are none', name => {
  for (const id of WRONG) expect(() => native[name](id, 0, 0)).toThrow('no breaker with this id');
});

test.each(OF_LIMITS)('%s: handles that are none', name => {
  for (const handle of WRONG) {
    expect(() => native[name](handle, 0)).toThrow('no limit with this handle');
  }
});

test.each(['regionInfo', 'regionRepairs'])('%s: handles that are none', name => {
  for (const handle of WRONG) {
    expect(() => native[name](handle)).toThrow('no region with this handle');
  }
});

test('a destroyed breaker is none either', () => {
  const id = makeBreaker();
  native.destroyBreaker(id);
  expect(() => native.destroyBreaker(id)).toThrow('no breaker with this id');
  expect(() => native.epoch(id)).toThrow('no breaker with this id');
});

test('states, counters, configurations and rules that are none', () => {
  const id = makeBreaker();
  for (const state of [3, -1, NaN, undefined]) {
    expect(() => native.moveTo(id, state)).toThrow('No such state');
  }
  for (const counter of [13, -1, NaN, undefined]) {
    expect(() => native.count(id, counter, 1)).toThrow('No such counter');
  }
  for (const config of [undefined, [], new Float64Array(3), new Float64Array(20)]) {
    expect(() => native.createBreaker(config)).toThrow('configuration');
  }
  for (const rules of [undefined, [], new Float64Array(8), new Float64Array(9).fill(9)]) {
    expect(() => native.backoffDelay(rules, 0, 0, 0)).toThrow('rules');
    expect(() => native.drawDelays(rules, new Float64Array(1))).toThrow('rules');
    const failed = [1, 0, 1, 0, 0, 0, 0];
    expect(() => native.decideRetry(rules, new Float64Array(1), ...failed)).toThrow('rules');
  }
});

test('ends of calls that are none', () => {
  const limit = native.createAdaptiveLimit(1, 1, 1, 1);
  for (const end of [3, -1, 0.5, NaN, undefined]) {
    expect(() => native.endAdaptive(limit, 1, end, 0)).toThrow('No such end of a call');
  }
  expect(native.endAdaptive(limit, 1, 0, 0)).toBe(false);
  native.destroyAdaptiveLimit(limit);
  expect(() => native.beginAdaptive(limit)).toThrow('no limit with this handle');
});

test('arrays of another length than native code expects', () => {
  expect(() => native.addCells(new Int32Array(5))).toThrow('length');
});
