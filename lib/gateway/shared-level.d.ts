import { EventEmitter } from 'node:events';
import { Store } from '../store';
import { Degradation } from './degradation';

/**
 * Shares a level that is set by hand with all processes and hosts of a store, also with those that
 * start later. The process that sets it has it at once; the others follow within milliseconds.
 * While the database is down, the level holds where it was set; it is shared when the database is
 * back. Of two decisions the newer one wins. The level by the rules remains that of each process.
 *
 * Emits 'warning'(error) when the database could not be read or written, which is retried, and when
 * this degradation has no such level.
 */
export interface SharedLevel extends EventEmitter {
  /** Takes the level that was set last, and follows from now on. Resolves after the first attempt,
   * whether or not it succeeded. */
  start (): Promise<void>;
  /** Leaves the level as it is. Waits for a decision that is being written. */
  stop (): Promise<void>;
}

/** @throws TypeError ERR_INVALID_OPTION */
export function createSharedLevel (
  options: { store: Store; degradation: Degradation }): SharedLevel;
