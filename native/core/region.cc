#include "core/region.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include "core/host.h"
#include "core/region_layout.h"

namespace sekering {
namespace {

uint32_t FirstSlotOf(std::string_view name) {
  return static_cast<uint32_t>(Hash(name.data(), name.size()) % kTableSize);
}

// When the count of memory was lost, this much is left free behind the records that can be found,
// as another process may be about to write one that cannot be found yet.
constexpr uint64_t kHotSlack = uint64_t{256} << 10;
constexpr uint64_t kColdSlack = uint64_t{8} << 20;

// Who removes a file holds it for microseconds, unless it is stopped just then.
constexpr uint32_t kJoinsMax = 1000;
constexpr std::chrono::milliseconds kJoinAgainAfter{1};

}  // namespace

std::string Region::LayoutName(std::span<const uint64_t> shapes) {
  constexpr uint64_t kOwn[] = {
      kMagic, sizeof(RegionHeader), sizeof(Record), kParticipantsMax, kHotBytes, kColdBytes};
  const uint64_t hash = Hash(shapes.data(), shapes.size_bytes(), Hash(kOwn, sizeof kOwn));
  char name[24];
  std::snprintf(name, sizeof name, "v1.%08x", static_cast<unsigned>(hash & 0xFFFFFFFF));
  return name;
}

// ---- Records -----------------------------------------------------------------------------------

bool Region::CommitToRead(const void* memory, size_t bytes) const noexcept {
  return !RegionFile::kCommitsToRead || file_.Commit(memory, bytes);
}

/// The record that a place leads to. Null if there is none, or if the place or the record is
/// damaged. `word` was loaded with acquire order at least, as the record is plain memory.
Record* Region::RecordIn(uint32_t slot, uint64_t word) const noexcept {
  const uint64_t offset = ValueOf<kOffsetBits>(word);
  if (!IsSlotWord(slot, word) || offset < kHotAt || offset % sizeof(Cell) != 0 ||
      offset > kColdAt - sizeof(Record)) {
    return nullptr;
  }
  auto* record = reinterpret_cast<Record*>(base_ + offset);
  if (!CommitToRead(record, sizeof(Record))) return nullptr;
  return IsSound(*record, offset) ? record : nullptr;
}

Attachment Region::Found(uint32_t slot, uint64_t word, uint32_t kind, bool created) const noexcept {
  auto* record = reinterpret_cast<Record*>(base_ + ValueOf<kOffsetBits>(word));
  Attachment found;
  if (record->kind != kind) {
    found.error = RegionError::kOtherKind;
    return found;
  }
  found.hot = reinterpret_cast<Cell*>(record + 1);
  found.cold = reinterpret_cast<Cell*>(base_ + record->cold_offset);
  if (!CommitToRead(record, HotBytesOf(record->hot_cells)) ||
      !CommitToRead(found.cold, ColdBytesOf(record->cold_cells))) {
    found.error = RegionError::kNoSpace;
    return found;
  }
  found.description = &record->description;
  found.created = created;
  found.slot = slot;
  found.word = word;
  found.place = &header_->table[slot];
  return found;
}

Used Region::Recount() const noexcept {
  Used used{0, 0, 0};
  for (uint32_t slot = 0; slot < kTableSize; ++slot) {
    const uint64_t word = header_->table[slot].load();
    const Record* const record = RecordIn(slot, word);
    if (record == nullptr) continue;
    const uint64_t hot = ValueOf<kOffsetBits>(word) - kHotAt + HotBytesOf(record->hot_cells);
    const uint64_t cold = record->cold_offset - kColdAt + ColdBytesOf(record->cold_cells);
    used = {std::max(used.hot, hot), std::max(used.cold, cold), used.records + 1};
  }
  return {std::min<uint64_t>(used.hot + kHotSlack, kHotBytes),
          std::min<uint64_t>(used.cold + kColdSlack, kColdBytes),
          std::min<uint64_t>(used.records, kRecordsMax)};
}

/// Takes memory for one more record: it begins where `before` ends.
bool Region::Take(size_t hot_bytes, size_t cold_bytes, Used* before) noexcept {
  uint64_t word = header_->used.load();
  for (;;) {
    const bool sound = Used::IsWord(word);
    *before = sound ? Used::Of(word) : Recount();
    const bool fits = before->records < kRecordsMax && hot_bytes <= kHotBytes - before->hot &&
                      cold_bytes <= kColdBytes - before->cold;
    if (!fits) return false;
    const Used after{before->hot + hot_bytes, before->cold + cold_bytes, before->records + 1};
    if (!header_->used.compare_exchange_weak(word, after.Word())) continue;
    if (!sound) ++repaired_;
    return true;
  }
}

/// The memory of a record that nobody will find is lost, but it no longer counts as a record.
void Region::GiveBackRecord() noexcept {
  uint64_t word = header_->used.load();
  while (Used::IsWord(word) && Used::Of(word).records > 0) {
    Used used = Used::Of(word);
    --used.records;
    if (header_->used.compare_exchange_weak(word, used.Word())) return;
  }
}

Record* Region::Write(const RecordKey& key, RegionError* error) noexcept {
  *error = RegionError::kFull;
  if (key.hot_cells > kHotBytes / sizeof(Cell) / 2) return nullptr;
  if (key.cold_cells > kColdBytes / sizeof(Cell) / 2) return nullptr;
  const size_t hot_bytes = HotBytesOf(key.hot_cells);
  Used before{};
  if (!Take(hot_bytes, ColdBytesOf(key.cold_cells), &before)) return nullptr;
  *error = RegionError::kNoSpace;
  std::byte* const memory = base_ + kHotAt + before.hot;
  if (!Commit(memory, hot_bytes)) {
    GiveBackRecord();
    return nullptr;
  }

  auto* record = reinterpret_cast<Record*>(memory);
  std::memset(static_cast<void*>(record), 0, sizeof(Record));
  record->kind = key.kind;
  record->name_length = static_cast<uint32_t>(key.name.size());
  std::memcpy(record->name, key.name.data(), key.name.size());
  record->description = key.description;
  record->hot_cells = key.hot_cells;
  record->cold_cells = key.cold_cells;
  record->cold_offset = kColdAt + before.cold;
  record->check = RecordCheck(*record);
  *error = RegionError::kNone;
  return record;
}

Attachment Region::Attach(const RecordKey& key) noexcept {
  KeepPlace();
  Record* mine = nullptr;
  Attachment failed;
  const uint32_t first = FirstSlotOf(key.name);
  for (uint32_t probe = 0; probe < kTableSize;) {
    // The record may be behind damaged places. If it is not, the first of those is used for it.
    std::optional<uint32_t> damaged;
    uint64_t damaged_word = 0;
    uint32_t slot = first;
    uint64_t word = 0;
    for (probe = 0; probe < kTableSize; ++probe) {
      slot = (first + probe) % kTableSize;
      word = header_->table[slot].load();
      if (word == SlotWord(slot, 0)) break;
      const Record* const record = RecordIn(slot, word);
      if (record != nullptr && IsNamed(*record, key.name)) {
        if (mine != nullptr) GiveBackRecord();
        return Found(slot, word, key.kind, false);
      }
      if (record != nullptr || damaged) continue;
      damaged = slot;
      damaged_word = word;
    }
    if (damaged) {
      slot = *damaged;
      word = damaged_word;
    } else if (probe == kTableSize) {
      break;
    }
    if (mine == nullptr) mine = Write(key, &failed.error);
    if (mine == nullptr) return failed;
    const auto offset = static_cast<uint64_t>(reinterpret_cast<std::byte*>(mine) - base_);
    const uint64_t own = SlotWord(slot, offset);
    if (header_->table[slot].compare_exchange_strong(word, own)) {
      if (damaged) {
        ++repaired_;
        AnnounceMove();
      }
      return Found(slot, own, key.kind, true);
    }
    // Another participant was faster, perhaps with the same name.
    probe = 0;
  }
  failed.error = RegionError::kFull;
  return failed;
}

Attachment Region::Reattach(const RecordKey& key, const Attachment& before) noexcept {
  Cell& place = header_->table[before.slot];
  uint64_t word = place.load();
  while (word != before.word) {
    const bool taken = IsSlotWord(before.slot, word) && ValueOf<kOffsetBits>(word) != 0;
    if (taken) return Attach(key);
    if (!place.compare_exchange_weak(word, before.word)) continue;
    ++repaired_;
    break;
  }
  return before;
}

std::vector<RecordView> Region::Records() const {
  std::vector<RecordView> views;
  for (uint32_t slot = 0; slot < kTableSize; ++slot) {
    Record* const record = RecordIn(slot, header_->table[slot].load());
    if (record == nullptr || !CommitToRead(record, HotBytesOf(record->hot_cells))) continue;
    views.push_back({record->kind, reinterpret_cast<Cell*>(record + 1)});
  }
  return views;
}

// ---- Participants ------------------------------------------------------------------------------

Region::~Region() {
  // So that the others do not ring in vain.
  uint64_t name = bell_.name();
  if (name != 0) header_->bells[self_.value()].compare_exchange_strong(name, 0);
}

/// Opens the file and takes the place of a participant. Somebody who finds nobody there may remove
/// the file in between: then this makes a new one.
RegionError Region::Join(const char* path) noexcept {
  for (uint32_t tries = 0; tries < kJoinsMax; ++tries) {
    const RegionError error = file_.Open(path);
    if (error != RegionError::kNone) return error;
    uint32_t place = 0;
    while (place < kParticipantsMax && !file_.TryLock(Participant(place))) ++place;
    if (place == kParticipantsMax && !file_.IsBeingRemoved() && file_.IsNamed(path)) {
      return RegionError::kNoPlace;
    }
    if (place < kParticipantsMax && file_.IsNamed(path)) {
      self_ = Participant(place);
      return RegionError::kNone;
    }
    file_.Close();
    std::this_thread::sleep_for(kJoinAgainAfter);
  }
  return RegionError::kNoPlace;
}

RegionError Region::Open(const char* path) noexcept {
  const RegionError error = Join(path);
  if (error != RegionError::kNone) return error;
  base_ = file_.base();
  header_ = file_.header();
  const std::string file(path);
  if (!bell_.Open(file.substr(0, file.rfind('/')))) return RegionFile::SystemError();
  process_ = CurrentProcess();
  incarnation_ = IncarnationOf(self_) + 1;
  KeepPlace();
  // What it says may be about the bell of whoever had this place before.
  FallSilent(header_->rung[self_.value()], self_.value());
  TakeNews();
  return RegionError::kNone;
}

bool Region::IsAlive(Participant participant) const noexcept {
  return participant == self_ || file_.IsLockedByOther(participant);
}

Process Region::ProcessOf(Participant participant) const noexcept {
  // The place may come from damaged memory.
  return Process(High(header_->participants[participant.value() % kParticipantsMax].load()));
}

uint32_t Region::IncarnationOf(Participant participant) const noexcept {
  return Low(header_->participants[participant.value() % kParticipantsMax].load());
}

uint32_t Region::LiveParticipants() const noexcept {
  uint32_t live = 0;
  for (uint32_t i = 0; i < kParticipantsMax; ++i) {
    const Participant participant(i);
    if (ProcessOf(participant) != Process() && IsAlive(participant)) ++live;
  }
  return live;
}

/// Writes what others know of this participant, and writes it again if it was damaged.
void Region::KeepPlace() noexcept {
  Cell& participant = header_->participants[self_.value()];
  Cell& bell = header_->bells[self_.value()];
  const uint64_t own = Pack(process_.value(), incarnation_);
  // Relaxed: only this participant writes these words, so it finds its own values unless they were
  // damaged.
  if (participant.load(std::memory_order_relaxed) != own) participant.store(own);
  if (bell.load(std::memory_order_relaxed) != bell_.name()) bell.store(bell_.name());
}

// ---- News --------------------------------------------------------------------------------------

uint32_t Region::NewsGroupOf(std::string_view name) noexcept {
  return FirstSlotOf(name) % kNewsGroups;
}

void Region::Announce(uint32_t group, bool also_here) noexcept {
  header_->news[group].fetch_add(1);
  Wake(also_here);
}

/// The place of a damaged record may lead to a record of another name now, and whoever used it must
/// look for its own.
void Region::AnnounceMove() noexcept {
  header_->moves.fetch_add(1);
  Wake(true);
}

void Region::Wake(bool also_here) noexcept {
  KeepPlace();
  // The last is this participant itself.
  const uint32_t last = also_here ? kParticipantsMax : kParticipantsMax - 1;
  for (uint32_t i = 1; i <= last; ++i) {
    const uint32_t place = (self_.value() + i) % kParticipantsMax;
    const Cell& bell = header_->bells[place];
    if (bell.load() == 0) continue;
    // The name is read after the word, which a new owner of the place changes first.
    RingOnce(header_->rung[place], place, [this, &bell] { return bell_.Ring(bell.load()); });
  }
}

void Region::Silence() noexcept {
  bell_.Silence();
  FallSilent(header_->rung[self_.value()], self_.value());
}

News Region::TakeNews() noexcept {
  News news;
  const uint64_t moves = std::exchange(seen_moves_, header_->moves.load());
  news.moved = moves != seen_moves_;
  for (uint32_t group = 0; group < kNewsGroups; ++group) {
    const uint64_t count = std::exchange(seen_news_[group], header_->news[group].load());
    if (news.moved || count != seen_news_[group]) news.groups.set(group);
  }
  return news;
}

}  // namespace sekering
