/** A memory region in which the processes of this user on this host share breakers. */
export interface RegionEntry {
  /** The namespace of its breakers. */
  namespace: string;
  /** The path of the file. */
  file: string;
  /** Bytes in use; the file looks larger. */
  bytes: number;
  /** When the file last changed. */
  modified: Date;
}

/** For operators: the regions of this host that this release can use. */
export const regions: {
  /** The regions of this user. None on Windows, where they are memory without files. */
  readonly list: () => RegionEntry[];
  /**
   * The folder of all regions of this user: the environment variable SEKERING_REGIONS, else
   * `sekering-<user id>` in /dev/shm, /tmp or /run/user/<user id> (on macOS in Library/Caches of
   * the user's home, or in /tmp), whichever of them is the first that this user can have for
   * itself. It is created with the mode 0700 if it is missing. Processes that see different folders
   * share nothing. '' where regions have no files: on Windows, and where nothing is shared.
   * @throws an error with the code ERR_REGION_SYSTEM or ERR_REGION_FOREIGN if SEKERING_REGIONS is
   *   not a usable folder, or if there is no such place
   */
  readonly directory: () => string;
  /**
   * Removes a region. Processes that use it keep sharing it; processes that start later
   * make a new one. Returns whether there was one; on Windows always false.
   */
  readonly remove: (namespace: string) => boolean;
};
