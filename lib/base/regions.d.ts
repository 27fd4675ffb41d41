/** A memory region in which the processes of this user on this host share breakers. */
export interface RegionEntry {
  namespace: string;
  file: string;
  /** Bytes in use; the file looks larger. */
  bytes: number;
  modified: Date;
}

/** For operators: the regions of this host that this release can use. */
export const regions: {
  readonly list: () => RegionEntry[];
  /**
   * The folder of all regions: the environment variable SEKERING_REGIONS, else /dev/shm, else /tmp.
   * Processes that see different folders share nothing.
   * @throws an error with the code ERR_REGION_SYSTEM or ERR_REGION_FOREIGN if SEKERING_REGIONS is
   *   not a usable folder
   */
  readonly directory: () => string;
  /**
   * Removes a region. Processes that use it keep sharing it; processes that start later
   * make a new one. Returns whether there was one.
   */
  readonly remove: (namespace: string) => boolean;
};
