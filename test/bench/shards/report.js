'use strict';

// The page of results.

const { machineOf } = require('../report');
const { isRight } = require('../gateway/runs');
const { KINDS } = require('./partitions');

const STATEMENTS_GATE = 1.1;
const CPU_GATE = 1.25;
const FLAT_GATE = 1.1;

const tableOf = rows => [rows[0], rows[0].map(() => '---'), ...rows.slice(1)]
  .map(cells => `| ${cells.join(' | ')} |`);

const textOf = lines => `${lines.join('\n')}\n`;

/** A paragraph in lines of at most 100 characters. */
function paragraph (text) {
  const lines = [''];
  for (const word of text.trim().split(/\s+/)) {
    const line = `${lines.at(-1)} ${word}`.trimStart();
    if (line.length <= 100) lines[lines.length - 1] = line;
    else lines.push(word);
  }
  return lines;
}

const fixed = (value, digits = 0) => value.toFixed(digits);
const whole = value => Math.round(value).toLocaleString('en');
const percent = (share, digits = 0) => `${(share * 100).toFixed(digits)} %`;
const ms = value => `${value.toFixed(value < 10 ? 2 : 0)} ms`;
const mib = bytes => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
const spread = ({ value, low, high }) =>
  `${value.toFixed(2)} × (${low.toFixed(2)} … ${high.toFixed(2)})`;

const head = () => textOf([
  '# Several databases, and one that lives long', '',
  'Written by `npm run bench:shards -- --write`, PostgreSQL 15.', '',
  `Machine: ${machineOf()}`, '',
  'Each part may be of a run of its own, and the machine may have had other work to do. What is',
  'compared took turns, so compare within a part, and not between parts.', '',
]);

// ---- Real shards --------------------------------------------------------------------------------

const SHARDS_METHOD = `
Each shard is a PostgreSQL server, which syncs its files, and a gateway of one process. The fake
Midtrans and the load are processes of their own; all of them share the two cores, so the rate of
all shards together cannot grow here. What an order costs can: it must not. Orders go to the shard
that the hash of their id names. Rounds on one, two and four shards take turns; figures are medians,
and ratios those of the same round, with the range of their middle half. Each figure is without what
the shards use in the same time without orders. CPU is that of the gateways' processes, and of all
processes of the servers. More processes on the same cores may also find their caches colder: how
much of the figures that is was not measured.`;

function costTable (name, rows) {
  return tableOf([
    [name, 'statements', 'WAL', 'CPU of gateways', 'CPU of databases', 'orders/s of all'],
    ...rows.map(({ count, statements, wal, gateway, database, rate }) => [
      count === 1 ? 'one shard' : `${count} shards`, fixed(statements, 2), `${fixed(wal)} B`,
      `${fixed(gateway)} µs`, `${fixed(database)} µs`, fixed(rate),
    ]),
  ]);
}

function ratioLine (rows, key, name, gate) {
  const { count, ratios } = rows.at(-1);
  const verdict = Number(ratios[key].value.toFixed(2)) <= gate ? 'met' : 'missed';
  return `- ${name} on ${count} shards beside one: ${spread(ratios[key])}, gate ≤ ${gate} ×: ` +
    verdict;
}

function costLines (rows) {
  return [
    ratioLine(rows, 'gateway', 'CPU of the gateways', CPU_GATE),
    ratioLine(rows, 'database', 'CPU of the databases', CPU_GATE),
  ];
}

function absenceRow ({ way, offered, its, others, othersBefore, sums, ...found }) {
  return [
    way, `${its.orders} of ${offered} (${percent(its.orders / offered)})`,
    `${its.taken} of ${its.orders}`, `${others.taken} of ${others.orders}`,
    `${ms(othersBefore.p50)}, ${ms(othersBefore.p99)}`, `${ms(others.p50)}, ${ms(others.p99)}`,
    sums.lost + sums.unmade + sums.open + found.missing, sums.twice + sums.others + found.elsewhere,
    found.wrong,
  ];
}

const absenceIsRight = ({ others, missing, wrong, elsewhere, sums }) =>
  isRight(sums) && missing + wrong + elsewhere === 0 && others.taken === others.orders;

function shardsText ({ alone, together, strangers, absences, away }) {
  const { shards } = absences[0];
  return textOf([
    '## Real shards', SHARDS_METHOD, '',
    ...costTable('one order at a time', alone), '',
    ...costTable('8 orders at a time for each shard', together), '',
    'One at a time:', '', ratioLine(alone, 'statements', 'Statements', STATEMENTS_GATE),
    ...costLines(alone), '',
    '8 for each shard (how many share a statement depends on how many happen to meet at a shard):',
    '', ...costLines(together),
    '', ...paragraph(`**One order, one shard.** ${shards} servers wrote down each statement with its
      values while ${strangers.orders} orders with an Idempotency-Key came. They named these orders
      ${whole(strangers.named)} times; an order of another shard ${strangers.strangers} times. Rows
      of orders in the database of another shard: ${strangers.elsewhere}.`), '',
    ...paragraph(`**One of ${shards} shards away**, ${away.perSecond} orders a second to all
      together, for ${away.ms / 1000} s. Stopped: its server ends, and is started again. Frozen: all
      its processes stand still, connections stay. Orders that were not taken in are asked for again
      when it is back, with the same ids, as a shop does. Times of answers: p50 and p99. Then every
      order has to be in its database with its page, which has to be the one page that Midtrans has
      of it.`), '',
    ...tableOf([
      ['', 'orders for it', 'of them taken in', 'of the others taken in', 'others before',
        'others meanwhile', 'lost', 'made twice', 'wrong answers'],
      ...absences.map(absenceRow),
    ]), '',
    `- All others taken in, none lost, none made twice, no wrong answer: ${
      absences.every(absenceIsRight) ? 'so it is' : 'missed'}`,
  ]);
}

// ---- More of them -------------------------------------------------------------------------------

const waitOf = ({ load, p50, p99 }) => (load >= 1 ? 'grows' : `${ms(p50)}, ${ms(p99)}`);

const SIMULATION_NAMES = {
  order: 'By order', even: 'By tenant, all alike', skewed: 'By tenant, skewed',
};

function simulationText (found) {
  const { load, orders, namings, tenants, ids, meanMs, databaseMs, spread: sorted } = found;
  const at = q => sorted[Math.floor(sorted.length * q)];
  return textOf([
    '## More shards, in virtual time', '',
    ...paragraph(`A simulation: orders come at random moments, and each shard takes its own one at a
      time, as one process of a gateway does. An order keeps it busy for ${ms(meanMs)} (measured:
      CPU of the gateway; the database needs ${ms(databaseMs)} beside that), p50 ${ms(at(0.5))}, p99
      ${ms(at(0.99))} (with the spread of the times in which orders that come alone are answered).
      ${percent(load)} of what all shards can do comes; medians of ${namings} runs of
      ${whole(orders)} orders. By order: the hash of the order's id names the shard. By tenant: that
      of the tenant, of which there are ${whole(tenants)}; all alike, or skewed: the i-th has a
      share in proportion to 1/i (Zipf), so the largest has 13 %. "Busiest": the work that comes for
      the busiest shard, as a share of its time. "Wait": p50 and p99 over all orders; from 100 % on
      the line grows without end. "Hit": the share of orders that are not taken in while that shard
      is away. A unit test compares the simulation with theory.`), '',
    ...Object.entries(SIMULATION_NAMES).flatMap(([key, name]) => [...tableOf([
      [`${name}: shards`, 'orders/s', 'busiest', 'wait', 'hit'],
      ...found.rows.map(({ shards, perSecond, [key]: row }) => [
        shards, whole(perSecond), percent(row.load), waitOf(row), percent(row.share, 1),
      ]),
    ]), '']),
    ...paragraph(`**One shard more:** the share of ${whole(ids)} ids that belong to another shard
      afterwards. sekering does not move orders, so each of these would be looked for where it is
      not.`), '',
    ...tableOf([
      ['from … to', 'modulo', 'rendezvous hashing', 'only new ids'],
      ...found.moves.map(({ shards, modulo, rendezvous }) =>
        [`${shards} … ${shards + 1}`, percent(modulo), percent(rendezvous), '0 %']),
    ]),
  ]);
}

// ---- Retention ----------------------------------------------------------------------------------

const RETENTION_METHOD = `
Messages are taken in (100 at a time) and sent (by one worker, to a sender that does nothing) as
fast as it goes, beside a history of messages that were sent. With deletes: \`cleanUp\` runs
whenever 5,000 more were sent, and deletes as many as have come since. Without: the history grows.
Both have a server of their own and take turns, slices of 40,000 messages each; the ratio is that
of the same round. Vacuum looks once a second (\`autovacuum_naptime\`), as the load is far above
that of a store for which once a minute is meant; all else is the default. CPU is that of all
processes of the server, vacuum's included. Both sides vacuum: each message leaves dead versions
of its row when it is claimed and settled.`;

function turnRows ({ size, cleaned, kept }) {
  return [['with deletes', cleaned], ['without', kept]].map(([name, side]) => [
    `${whole(size)}, ${name}`, whole(side.rate), `${fixed(side.cpu)} µs`, `${whole(side.wal)} B`,
    fixed(side.vacuums.runs * 100_000, 1), whole(side.vacuums.pages * 1000),
    `${fixed(side.vacuums.seconds * 1e6)} µs`, `${whole(side.vacuums.wal)} B`,
  ]);
}

function turnLine ({ size, ratio, cleaned, kept, deletedShare }) {
  return `- ${whole(size)}: rate with deletes beside that without ${spread(ratio)}; CPU of the ` +
    `server ${(cleaned.cpu / kept.cpu).toFixed(2)} ×, WAL ${(cleaned.wal / kept.wal).toFixed(2)} ` +
    `×. Deleted for each that came: ${deletedShare.toFixed(2)}.`;
}

/** The mean of the last quarter of all periods, beside that of the quarter before. */
function growthOf ({ found }, key) {
  const quarter = Math.floor((found.length - 1) / 4);
  const sum = rows => rows.reduce((bytes, row) => bytes + row[key], 0);
  return sum(found.slice(-quarter)) / sum(found.slice(-2 * quarter, -quarter));
}

function periodLine (periods) {
  const growth = ['table', 'indexes'].map(key => growthOf(periods, key));
  return `- The mean size of the last quarter beside that of the quarter before: table ${
    growth[0].toFixed(2)} ×, indexes ${growth[1].toFixed(2)} ×, gate ≤ ${FLAT_GATE} ×: ${
    growth.every(value => Number(value.toFixed(2)) <= FLAT_GATE) ? 'met' : 'missed'}`;
}

function retentionText ({ turns, periods }) {
  return textOf([
    '## Retention by deletes', RETENTION_METHOD, '',
    ...tableOf([
      ['history', 'messages/s', 'CPU of each', 'WAL of each', 'vacuums per 100,000',
        'pages per 1,000', 'vacuum for each', 'its WAL'],
      ...turns.flatMap(turnRows),
    ]), '',
    ...turns.map(turnLine), '',
    'Deletes alone, after a checkpoint and while nothing else is done, and a vacuum after that,',
    'for each message that was deleted:', '',
    ...tableOf([
      ['history', 'deleted', 'delete', 'its WAL', 'vacuum', 'its WAL'],
      ...turns.map(({ size, alone: { deleted, deleting, vacuuming } }) => [
        whole(size), whole(deleted), `${fixed(deleting.ms, 1)} µs`, `${whole(deleting.wal)} B`,
        `${fixed(vacuuming.ms, 1)} µs`, `${whole(vacuuming.wal)} B`,
      ]),
    ]), '',
    `**${periods.found.length - 1} retention periods** of ${whole(periods.size)} messages, one ` +
    'after the other, without a pause.', '',
    ...tableOf([
      ['after period', 'messages/s', 'rows', 'dead rows', 'table', 'indexes'],
      ...periods.found.map(({ period, rate, rows, dead, table, indexes }) => [
        period, rate === undefined ? '' : whole(rate), whole(rows ?? periods.size), whole(dead),
        mib(table), mib(indexes),
      ]),
    ]), '',
    periodLine(periods),
  ]);
}

// ---- Partitions ---------------------------------------------------------------------------------

const KIND_NAMES = {
  enqueue: 'enqueue one', look: 'claim 50, looking at everything',
  further: 'claim 50, going on', settle: 'settle 50',
};

const nameOf = partitions => (partitions === 1 ? 'now' : `${partitions} partitions`);

function partitionsText ({ history, waiting, rounds, found }) {
  const header = ['', ...found.map(({ partitions }) => nameOf(partitions))];
  const table = (title, cellOf) => [...tableOf([
    [title, ...header.slice(1)],
    ...KINDS.map(kind => [KIND_NAMES[kind], ...found.map(each => cellOf(each, kind))]),
  ]), ''];
  const dropped = found.slice(1).map(({ partitions, dropped: { ms: took, wal, mode } }) =>
    `${whole(history / partitions)} messages in ${ms(took)}, ${whole(wal)} B of WAL (${mode})`);
  return textOf([
    '## Partitions, a trial', '',
    ...paragraph(`The outbox as it is, beside the same table in partitions by ranges of ids;
      ${whole(history)} messages of history, spread over all partitions, and ${whole(waiting)} that
      wait, in the last one. The statements are those of the worker, prepared, and without the
      disk's part in a commit; medians of ${rounds} in turns, and the ratio to the table as it is.
      Locks are those of tables and indexes in one statement; PostgreSQL 15 keeps 16 of each process
      beside it, and the others in a table that all processes share. To plan is what each connection
      does once, and again when statistics change.`), '',
    ...table('time', ({ ms: times, ratio, partitions }, kind) => (partitions === 1
      ? ms(times[kind]) : `${ms(times[kind])}, ${spread(ratio[kind])}`)),
    ...table('locks (in the shared table)', ({ locks }, kind) =>
      `${locks[kind].all} (${locks[kind].slow})`),
    ...table('to plan', ({ planning }, kind) => ms(planning[kind])),
    `- To drop the oldest partition: ${dropped.join('; ')}.`,
    '- The unique indexes of `dedupeKey` and of the message of an `orderKey` that is being sent do',
    '  not exist there: a unique index of a partitioned table must contain the id.',
    '- A partition can only be dropped when none of its messages waits, and none is a dead letter',
    '  that is kept for longer.',
  ]);
}

module.exports = { head, partitionsText, retentionText, shardsText, simulationText };
