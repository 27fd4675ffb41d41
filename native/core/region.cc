#include "core/region.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#ifdef __linux__
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace sekering {

// Twice the records, so that a search ends soon.
constexpr uint32_t kTableSize = 2 * 8192;
static_assert(kRecordsMax < kTableSize / 2);

constexpr uint64_t kMagic = 0x31676E6972656B65;  // "ekering1"
constexpr size_t kPage = 4096;
constexpr size_t kHotBytes = size_t{48} << 20;
constexpr size_t kColdBytes = size_t{512} << 20;
constexpr off_t kLocksAt = off_t{1} << 40;  // Beyond the file: locks need no bytes.

struct RegionHeader {
  Cell magic;
  std::atomic<uint32_t> signal;
  uint32_t unused;
  Cell hot_used;   // bytes from kHotAt
  Cell cold_used;  // bytes from kColdAt
  Cell records;
  Cell participants[kParticipantsMax];  // process:32 | incarnation:32
  Cell table[kTableSize];               // offset of a record, or 0
};
static_assert(sizeof(RegionHeader) == (5 + kParticipantsMax + kTableSize) * sizeof(Cell));

/// What is known of a record; its hot cells follow. Written once, before it can be found.
struct Record {
  uint64_t check;  // of all that follows
  uint32_t kind;
  uint32_t name_length;
  char name[kRecordNameMax + 1];
  Description description;
  uint64_t hot_cells;
  uint64_t cold_cells;
  uint64_t cold_offset;
};
static_assert(sizeof(Record) % sizeof(Cell) == 0);

constexpr size_t RoundUp(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

constexpr size_t kHotAt = RoundUp(sizeof(RegionHeader), kPage);
constexpr size_t kColdAt = kHotAt + kHotBytes;
constexpr size_t kFileBytes = kColdAt + kColdBytes;

namespace {

constexpr uint64_t Hash(const void* data, size_t bytes, uint64_t hash = 0xCBF29CE484222325) {
  const auto* p = static_cast<const unsigned char*>(data);
  for (size_t i = 0; i < bytes; ++i) hash = (hash ^ p[i]) * 0x100000001B3;  // FNV-1a
  return hash;
}

uint64_t CheckOf(const Record& record) {
  constexpr size_t kFrom = offsetof(Record, kind);
  return Hash(reinterpret_cast<const char*>(&record) + kFrom, sizeof(Record) - kFrom);
}

uint32_t PlaceOf(std::string_view name) {
  return static_cast<uint32_t>(Hash(name.data(), name.size()) % kTableSize);
}

constexpr uint32_t High(uint64_t word) {
  return static_cast<uint32_t>(word >> 32);
}

}  // namespace

std::string Region::LayoutName() {
  constexpr uint64_t kShape[] = {kMagic,    sizeof(RegionHeader), sizeof(Record), kLatencyCells,
                                 kCounters, kHotLatencyCells,     kTouchedWords,  kHotBytes,
                                 kColdBytes};
  char name[24];
  std::snprintf(name, sizeof name, "v1.%08x",
                static_cast<unsigned>(Hash(kShape, sizeof kShape) & 0xFFFFFFFF));
  return name;
}

Record* Region::At(uint64_t offset) const noexcept {
  const bool inside =
      offset >= kHotAt && offset % sizeof(Cell) == 0 && offset <= kColdAt - sizeof(Record);
  return inside ? reinterpret_cast<Record*>(base_ + offset) : nullptr;
}

namespace {

/// Whether a record is whole. Its numbers are only used after this.
bool IsSound(const Record* record, size_t offset) {
  return record != nullptr && record->name_length <= kRecordNameMax &&
         record->check == CheckOf(*record) &&
         record->hot_cells <= (kColdAt - offset - sizeof(Record)) / sizeof(Cell) &&
         record->cold_offset >= kColdAt && record->cold_offset <= kFileBytes &&
         record->cold_cells <= (kFileBytes - record->cold_offset) / sizeof(Cell);
}

bool IsNamed(const Record& record, std::string_view name) {
  return name == std::string_view(record.name, record.name_length);
}

}  // namespace

Attachment Region::Found(Record* record, uint32_t kind, bool created) const noexcept {
  Attachment found;
  if (record->kind != kind) {
    found.error = RegionError::kOtherKind;
    return found;
  }
  found.hot = reinterpret_cast<Cell*>(record + 1);
  found.cold = reinterpret_cast<Cell*>(base_ + record->cold_offset);
  found.description = &record->description;
  found.created = created;
  return found;
}

Record* Region::Write(uint32_t kind, std::string_view name, const Description& description,
                      size_t hot_cells, size_t cold_cells, RegionError* error) noexcept {
  const size_t hot_bytes = RoundUp(sizeof(Record) + hot_cells * sizeof(Cell), 64);
  const size_t cold_bytes = RoundUp(cold_cells * sizeof(Cell), kPage);
  *error = RegionError::kFull;
  if (hot_cells > kHotBytes / sizeof(Cell) / 2 || cold_cells > kColdBytes / sizeof(Cell) / 2) {
    return nullptr;
  }
  if (header_->records.load() >= kRecordsMax) return nullptr;
  const uint64_t hot = header_->hot_used.fetch_add(hot_bytes);
  if (hot > kHotBytes - hot_bytes) return nullptr;
  const uint64_t cold = header_->cold_used.fetch_add(cold_bytes);
  if (cold > kColdBytes - cold_bytes) return nullptr;
  *error = RegionError::kNoSpace;
  std::byte* const memory = base_ + kHotAt + hot;
  if (!Commit(memory, hot_bytes)) return nullptr;

  auto* record = reinterpret_cast<Record*>(memory);
  std::memset(static_cast<void*>(record), 0, sizeof(Record));
  record->kind = kind;
  record->name_length = static_cast<uint32_t>(name.size());
  std::memcpy(record->name, name.data(), name.size());
  record->description = description;
  record->hot_cells = hot_cells;
  record->cold_cells = cold_cells;
  record->cold_offset = kColdAt + cold;
  record->check = CheckOf(*record);
  *error = RegionError::kNone;
  return record;
}

Attachment Region::Attach(uint32_t kind, std::string_view name, const Description& description,
                          size_t hot_cells, size_t cold_cells) noexcept {
  Record* mine = nullptr;
  Attachment failed;
  for (uint32_t probe = 0; probe < kTableSize;) {
    Cell& place = header_->table[(PlaceOf(name) + probe) % kTableSize];
    uint64_t offset = place.load();
    Record* const record = At(offset);
    const bool sound = offset != 0 && IsSound(record, offset);
    if (sound && IsNamed(*record, name)) return Found(record, kind, false);
    if (sound) {
      ++probe;
      continue;
    }
    // Free, or damaged: ours to fill.
    if (mine == nullptr)
      mine = Write(kind, name, description, hot_cells, cold_cells, &failed.error);
    if (mine == nullptr) return failed;
    const auto own = static_cast<uint64_t>(reinterpret_cast<std::byte*>(mine) - base_);
    if (place.compare_exchange_strong(offset, own)) {
      if (offset != 0) ++repaired_;
      header_->records.fetch_add(1);
      return Found(mine, kind, true);
    }
    // Somebody was faster: perhaps with the same name.
  }
  failed.error = RegionError::kFull;
  return failed;
}

std::vector<RecordView> Region::Records() const {
  std::vector<RecordView> views;
  for (const Cell& place : header_->table) {
    const uint64_t offset = place.load(std::memory_order_relaxed);
    Record* const record = offset == 0 ? nullptr : At(offset);
    if (record == nullptr || !IsSound(record, offset)) continue;
    views.push_back({record->kind, reinterpret_cast<Cell*>(record + 1)});
  }
  return views;
}

uint32_t Region::ProcessOf(uint32_t participant) const noexcept {
  return High(header_->participants[participant % kParticipantsMax].load());
}

uint32_t Region::IncarnationOf(uint32_t participant) const noexcept {
  return static_cast<uint32_t>(header_->participants[participant % kParticipantsMax].load());
}

uint32_t Region::News() const noexcept {
  return header_->signal.load();
}

uint32_t Region::LiveParticipants() const noexcept {
  uint32_t live = 0;
  for (uint32_t i = 0; i < kParticipantsMax; ++i) {
    if (ProcessOf(i) != 0 && IsAlive(i)) ++live;
  }
  return live;
}

#ifdef __linux__

namespace {

constexpr mode_t kMode = S_IRUSR | S_IWUSR;

struct flock LockOf(uint32_t participant, short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = kLocksAt + participant;
  lock.l_len = 1;
  return lock;
}

bool IsOurs(const struct stat& status) {
  return S_ISREG(status.st_mode) && status.st_uid == geteuid() && (status.st_mode & 077) == 0;
}

RegionError SystemError() {
  if (errno == ENOSPC) return RegionError::kNoSpace;
  return errno == ELOOP ? RegionError::kForeign : RegionError::kSystem;
}

}  // namespace

Region::~Region() {
  Close();
}

void Region::Close() noexcept {
  if (base_ != nullptr) munmap(base_, kFileBytes);
  if (fd_ >= 0) close(fd_);  // The kernel drops the lock with it.
  base_ = nullptr;
  fd_ = -1;
}

RegionError Region::Make(const char* path) noexcept {
  char temporary[4096];
  std::snprintf(temporary, sizeof temporary, "%s~%ld.XXXXXX", path, static_cast<long>(getpid()));
  fd_ = mkostemp(temporary, O_CLOEXEC);
  if (fd_ < 0) return SystemError();
  RegionError error = RegionError::kNone;
  if (fchmod(fd_, kMode) != 0 || ftruncate(fd_, kFileBytes) != 0 ||
      fallocate(fd_, 0, 0, kHotAt) != 0) {
    error = SystemError();
  } else {
    const uint64_t magic = kMagic;
    const bool written = pwrite(fd_, &magic, sizeof magic, 0) == sizeof magic;
    // link() does not replace: of all who race here, one gives its file the name.
    if (!written || (link(temporary, path) != 0 && errno != EEXIST)) error = SystemError();
  }
  unlink(temporary);
  close(fd_);
  fd_ = -1;
  return error;
}

RegionError Region::Map() noexcept {
  struct stat status {};
  if (fstat(fd_, &status) != 0) return SystemError();
  if (!IsOurs(status)) return RegionError::kForeign;
  if (static_cast<size_t>(status.st_size) != kFileBytes) return RegionError::kCorrupt;
  void* const memory =
      mmap(nullptr, kFileBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd_, 0);
  if (memory == MAP_FAILED) return SystemError();
  base_ = static_cast<std::byte*>(memory);
  header_ = reinterpret_cast<RegionHeader*>(base_);
  return header_->magic.load() == kMagic ? RegionError::kNone : RegionError::kCorrupt;
}

RegionError Region::Join() noexcept {
  for (uint32_t i = 0; i < kParticipantsMax; ++i) {
    struct flock lock = LockOf(i, F_WRLCK);
    if (fcntl(fd_, F_OFD_SETLK, &lock) != 0) continue;
    // The place is ours for as long as the file is open.
    Cell& place = header_->participants[i];
    incarnation_ = static_cast<uint32_t>(place.load()) + 1;
    place.store(uint64_t{static_cast<uint32_t>(getpid())} << 32 | incarnation_);
    index_ = i;
    return RegionError::kNone;
  }
  return RegionError::kNoPlace;
}

RegionError Region::Open(const char* path) noexcept {
  // The file may be removed between making and opening it; somebody who does that for ever is not
  // waited for.
  for (int tries = 0; tries < 16; ++tries) {
    fd_ = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd_ < 0 && errno != ENOENT) return SystemError();
    if (fd_ < 0) {
      const RegionError error = Make(path);
      if (error != RegionError::kNone) return error;
      continue;
    }
    const RegionError error = Map();
    if (error == RegionError::kNone) return Join();
    if (error != RegionError::kCorrupt) return error;
    Unlink(path);
    Close();
  }
  return RegionError::kSystem;
}

/// Removes the damaged file that is open, if the path still leads to it. All who want that lock the
/// file first, so nobody removes the one that somebody else has put in its place.
void Region::Unlink(const char* path) noexcept {
  struct flock lock = LockOf(kParticipantsMax, F_WRLCK);
  struct stat open_file {};
  struct stat named {};
  if (fcntl(fd_, F_OFD_SETLKW, &lock) != 0 || fstat(fd_, &open_file) != 0) return;
  if (lstat(path, &named) != 0 || named.st_ino != open_file.st_ino) return;
  if (unlink(path) == 0) replaced_ = true;
}

bool Region::IsAlive(uint32_t participant) const noexcept {
  if (participant == index_) return true;
  struct flock lock = LockOf(participant, F_WRLCK);
  if (fcntl(fd_, F_OFD_GETLK, &lock) != 0) return true;
  return lock.l_type != F_UNLCK;
}

bool Region::Commit(const void* memory, size_t bytes) noexcept {
  const auto from = static_cast<const std::byte*>(memory) - base_;
  return fallocate(fd_, 0, from, static_cast<off_t>(bytes)) == 0;
}

void Region::AwaitNews(uint32_t seen) noexcept {
  syscall(SYS_futex, &header_->signal, FUTEX_WAIT, seen, nullptr, nullptr, 0);
}

void Region::Announce() noexcept {
  header_->signal.fetch_add(1);
  syscall(SYS_futex, &header_->signal, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
}

#else

Region::~Region() = default;
RegionError Region::Open(const char*) noexcept {
  return RegionError::kUnsupported;
}
bool Region::IsAlive(uint32_t) const noexcept {
  return true;
}
bool Region::Commit(const void*, size_t) noexcept {
  return true;
}
void Region::AwaitNews(uint32_t) noexcept {}
void Region::Announce() noexcept {}

#endif

}  // namespace sekering
