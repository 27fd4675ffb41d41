// Who shares memory, and what each needs to know of the others. The core's state machines know only
// these interfaces. Regions (core/region.h), which need files and sockets, implement them; a build
// without those leaves them out.

#ifndef SEKERING_CORE_PARTICIPANTS_H_
#define SEKERING_CORE_PARTICIPANTS_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/cell.h"
#include "core/units.h"

namespace sekering {

inline constexpr uint32_t kParticipantsMax = 256;

/// The participants of shared memory, as one of them sees them.
class Participants {
 public:
  /// This participant's place, how often that place was taken, and its process.
  virtual Participant self() const noexcept = 0;
  virtual uint32_t incarnation() const noexcept = 0;
  virtual Process process() const noexcept = 0;

  virtual bool IsAlive(Participant participant) const noexcept = 0;
  virtual uint32_t IncarnationOf(Participant participant) const noexcept = 0;

 protected:
  ~Participants() = default;
};

/// Backs memory with storage before its first use, where that can fail: a shared file on a full
/// disk.
class Storage {
 public:
  /// False if there is no space.
  virtual bool Commit(const void* memory, size_t bytes) noexcept = 0;

 protected:
  ~Storage() = default;
};

/// A named piece of shared memory that this participant uses. It may move: a damaged one is
/// replaced.
class SharedMemory : public Storage {
 public:
  static constexpr uint32_t kNoId = UINT32_MAX;

  /// Call it before each use. Whether the memory is in another place than before.
  virtual bool Follow() noexcept = 0;
  virtual Cell* hot() const noexcept = 0;
  virtual Cell* cold() const noexcept = 0;
  virtual const Participants& participants() const noexcept = 0;
  virtual std::string_view name() const noexcept = 0;

  /// Tells all others that something has changed.
  virtual void Announce() noexcept = 0;
  /// This participant no longer uses it here. Do not touch it afterwards.
  virtual void Leave() noexcept = 0;

  /// The number of what the environment made of it.
  uint32_t id = kNoId;

 protected:
  ~SharedMemory() = default;
};

}  // namespace sekering

#endif  // SEKERING_CORE_PARTICIPANTS_H_
