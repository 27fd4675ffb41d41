'use strict';

// Breakers and the degradation level, in the admin API.

const clock = require('../base/clock');
const { SekeringError } = require('../base/errors');
const { stateOf, viewBreaker } = require('./admin-views');

const LIST_DEFAULT = 200;

// What needs a look comes first.
const ORDER = ['open', 'half-open', 'disabled', 'closed'];

function compare (a, b) {
  return ORDER.indexOf(a.state) - ORDER.indexOf(b.state) ||
    (a.breaker.name < b.breaker.name ? -1 : 1);
}

/** Names with a number where they repeat, as breakers may be called alike. */
function numbered (breakers) {
  const times = new Map();
  return breakers.map(breaker => {
    const { name } = breaker;
    const time = (times.get(name) ?? 0) + 1;
    times.set(name, time);
    return { breaker, state: stateOf(breaker), key: time === 1 ? name : `${name} #${time}` };
  });
}

const viewNumbered = (breaker, key) => ({ key, ...viewBreaker(breaker) });

/** `view` makes what is shown of each; default: all there is to see. */
function list (breakers, { state, search, limit = LIST_DEFAULT }, view = viewNumbered) {
  const all = numbered(breakers().filter(breaker => !breaker.isShutdown));
  const counts = { closed: 0, open: 0, 'half-open': 0, disabled: 0 };
  for (const item of all) counts[item.state] += 1;
  const words = search?.toLowerCase();
  const found = all.filter(item => (state === undefined || item.state === state) &&
    (words === undefined || item.breaker.name.toLowerCase().includes(words)));
  const shown = found.sort(compare).slice(0, limit);
  return {
    total: all.length,
    counts,
    found: found.length,
    breakers: shown.map(({ breaker, key }) => view(breaker, key)),
  };
}

function breakerActions ({ breakers, sessions, history }) {
  const named = name => breakers().filter(breaker => breaker.name === name && !breaker.isShutdown);

  function resetNamed (name) {
    const found = named(name);
    for (const breaker of found) breaker.reset();
    return found.length === 0 ? undefined : { name, reset: found.length };
  }

  const resetSession = id => (sessions?.reset(id) === true ? { name: id, reset: 1 } : undefined);

  const past = {
    path: '/breaker-history', query: 'breakers', show: ({ query }) => history.read(query),
  };

  return [...(history === undefined ? [] : [past]), {
    path: '/circuit-breakers',
    query: 'breakers',
    show: ({ query }) => ({ at: clock.wall(), ...list(breakers, query) }),
  }, {
    path: '/circuit-breakers/:name',
    params: { name: 'name' },
    show: ({ params: { name } }) => {
      const found = named(name);
      return found.length === 0 ? undefined : { name, breakers: found.map(viewBreaker) };
    },
  }, {
    path: '/circuit-breakers/:name/reset',
    params: { name: 'name' },
    action: 'breaker.reset',
    change: ({ params: { name } }) => resetNamed(name) ?? resetSession(name),
  }, {
    // Of an instance of the session pool, else of the breaker of that name.
    path: '/:id',
    alone: true,
    params: { id: 'name' },
    action: 'breaker.reset',
    change: ({ params: { id } }) => resetSession(id) ?? resetNamed(id),
  }];
}

function levelActions (degradation) {
  return [{
    path: '/degradation', show: () => degradation.snapshot(),
  }, {
    path: '/degradation',
    body: 'level',
    action: 'degradation.set',
    change: ({ body: { level, reason }, actor }) => {
      const { levels } = degradation.snapshot();
      if (level !== null && !levels.includes(level)) {
        throw new SekeringError('ERR_INVALID_INPUT',
          `level: must be one of ${levels.join(', ')}, or null`);
      }
      degradation.setLevel(level, { reason, by: actor.name });
      return degradation.snapshot();
    },
  }];
}

module.exports = { breakerActions, levelActions, listBreakers: list };
