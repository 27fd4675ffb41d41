export type TransactionState =
  | 'authorize' | 'pending' | 'capture' | 'settlement' | 'partial_refund' | 'partial_chargeback'
  | 'deny' | 'cancel' | 'expire' | 'failure' | 'refund' | 'chargeback';

export const transactionStates: readonly TransactionState[];

export interface Confirmation {
  /** Whether GET status says so. */
  confirmed?: boolean | undefined;
}

/** Whether a transaction may go from one state to the other in one step. */
export function canMove (from: string, to: string, options?: Confirmation): boolean;

/** Whether nothing follows a state. */
export function isFinalState (state: string): boolean;

export type Verdict =
  /** Nothing was known; the state is taken over. */
  | 'first'
  /** The transaction goes on to the next state. */
  | 'moved'
  /** It has gone on by more than one step; believed only when confirmed. */
  | 'caught-up'
  /** Nothing new. */
  | 'same'
  /** Late news of a state that it has left. */
  | 'stale'
  /** Possible, but only if GET status says so. */
  | 'unconfirmed'
  /** Impossible. */
  | 'refused';

/** What a notification, or an answer of GET status, does to the state that is known. */
export function advance (
  current: string | null | undefined, incoming: string, options?: Confirmation
): { state: TransactionState | undefined; changed: boolean; verdict: Verdict };

/** Whether a status body or a notification says that the money is there. */
export function isPaid (transaction: {
  status_code?: unknown; transaction_status?: unknown; fraud_status?: unknown;
} | null | undefined): boolean;

/** The amount of the order without fees that Midtrans may have added; undefined if not known. */
export function amountOf (transaction: object | null | undefined): number | undefined;
