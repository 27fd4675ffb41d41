export type TransactionState =
  | 'authorize' | 'pending' | 'capture' | 'settlement' | 'partial_refund' | 'partial_chargeback'
  | 'deny' | 'cancel' | 'expire' | 'failure' | 'refund' | 'chargeback';

export const transactionStates: readonly TransactionState[];

export interface Confirmation {
  /** Whether GET status confirms it. */
  confirmed?: boolean | undefined;
}

/** Whether a transaction may go from one state to the other in one step. */
export function canMove (from: string, to: string, options?: Confirmation): boolean;

/** Whether no state follows this one. */
export function isFinalState (state: string): boolean;

export type Verdict =
  /** There was no known state; this one is taken. */
  | 'first'
  /** The transaction moves to the next state. */
  | 'moved'
  /** It has moved by more than one step; accepted only when confirmed. */
  | 'caught-up'
  /** Nothing new. */
  | 'same'
  /** A late message about a state that it has left. */
  | 'stale'
  /** Possible, but only if GET status confirms it. */
  | 'unconfirmed'
  /** Impossible. */
  | 'refused';

/** The new state after a notification or an answer of GET status. */
export function advance (
  current: string | null | undefined, incoming: string, options?: Confirmation
): { state: TransactionState | undefined; changed: boolean; verdict: Verdict };

/** Whether a status body or a notification says that the money has arrived. */
export function isPaid (transaction: {
  status_code?: unknown; transaction_status?: unknown; fraud_status?: unknown;
} | null | undefined): boolean;

/** The amount of the order, without fees that Midtrans may have added; undefined if unknown. */
export function amountOf (transaction: object | null | undefined): number | undefined;
