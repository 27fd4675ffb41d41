// Locks on the file of a region, on Linux and macOS: who takes part, and who removes it. The kernel
// drops the locks of a process or thread whenever it dies.

#ifndef SEKERING_CORE_REGION_LOCKS_H_
#define SEKERING_CORE_REGION_LOCKS_H_

#include <string>

#include "core/participants.h"

namespace sekering {

class RegionLocks {
 public:
  RegionLocks() = default;
  ~RegionLocks() { Release(); }
  RegionLocks(const RegionLocks&) = delete;
  RegionLocks& operator=(const RegionLocks&) = delete;

  /// Call it first. `fd` is the region's open file, and `path` its name.
  void Use(int fd, const char* path);
  /// Drops what is held. Call it before the file is closed.
  void Release() noexcept;

  /// Takes the place of a participant.
  bool TryTake(Participant participant) noexcept;
  bool IsTakenByOther(Participant participant) const noexcept;
  /// Whether anybody has a place.
  bool IsAnyTaken() const noexcept;

  /// Closes the door, unless somebody has a place: nobody can take one until Release.
  bool TryCloseDoor() noexcept;
  /// Whether another one has closed the door.
  bool IsDoorClosed() const noexcept;

  /// Of all who remove files by this name, one goes on at a time, until Release. Others may have
  /// places meanwhile.
  bool AwaitRemoval() noexcept;

  /// For a process that is about to end: its place leaves nothing behind.
  void Hide() noexcept;

  /// Removes what the locks have left beside the file of that name; with `of_all`, also what others
  /// hold.
  static void RemoveRest(const char* path, bool of_all) noexcept;

 private:
  int fd_ = -1;
  std::string path_;
  // Where places have files: that of the place that is taken.
  int place_ = -1;
  Participant taken_;
  // The folder, where it is locked.
  int folder_ = -1;
};

}  // namespace sekering

#endif  // SEKERING_CORE_REGION_LOCKS_H_
