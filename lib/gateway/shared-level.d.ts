import { EventEmitter } from 'node:events';
import { Store } from '../store';
import { Degradation } from './degradation';

/**
 * Makes a level that is set by hand that of all processes and hosts that share a store, and of
 * those that start later. Whoever sets one has it at once; the others follow within milliseconds.
 * Without the database it holds where it was set, and is told once the database is back; of two
 * decisions the newer one stays. What the rules say remains each process's own.
 *
 * Emits 'warning'(error) when the database could not be told or asked, which is tried again, and
 * when the level is none of this degradation's.
 */
export interface SharedLevel extends EventEmitter {
  /** Takes the level that was set last, and follows from now on. Resolves after the first look,
   * also one that failed. */
  start (): Promise<void>;
  /** Leaves the level as it is. Waits for what is being told. */
  stop (): Promise<void>;
}

/** @throws TypeError ERR_INVALID_OPTION */
export function createSharedLevel (
  options: { store: Store; degradation: Degradation }): SharedLevel;
