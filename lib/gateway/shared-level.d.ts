import { EventEmitter } from 'node:events';
import { Store } from '../store';
import { Degradation } from './degradation';

/**
 * Applies a level set by hand to all processes and hosts that share a store, and to those that
 * start later. The process that sets one has it at once, the others within milliseconds. While the
 * database is down it applies where it was set, and is shared when the database is back. Of two
 * decisions the newer one wins. Each process applies the rules on its own.
 *
 * Emits 'warning'(error) when the database could not be written or read, which is retried, and
 * when this degradation does not have the level.
 */
export interface SharedLevel extends EventEmitter {
  /** Takes the level that was set last, and follows from now on. Resolves after the first check,
   * even if it failed. */
  start (): Promise<void>;
  /** Keeps the level. Waits for writes in progress. */
  stop (): Promise<void>;
}

/** @throws TypeError ERR_INVALID_OPTION */
export function createSharedLevel (
  options: { store: Store; degradation: Degradation }): SharedLevel;
