// Opens a model from its path: one file, or the files of a split as one. Shards are looked for only beside the given
// file and only under the names its pattern gives; nothing in a file names another file.
#include "base/limits.h"
#include "base/log.h"
#include "gguf/gguf.h"
#include "gguf/rules.h"

namespace quant {
namespace {

Error split_error(const std::string& path, const std::string& text) { return input_error(escaped(path) + ": " + text); }

Result<Gguf> open_one(const std::string& path, MappedFile::Mode mode, std::vector<MappedFile>& files) {
    LET(file, MappedFile::open(path, mode));
    LET(parsed, Gguf::parse(file.bytes(), path));
    files.push_back(std::move(file));
    return parsed;
}

// How many files the first one says there are, held against its name.
Result<uint32_t> split_count(const Gguf& first) {
    const std::string& path = first.path();
    LET(count, first.metadata().get_u32(kSplitCountKey));
    if (!count || *count <= 1) return uint32_t{1};
    if (*count > limits::kShards)
        return split_error(path, format_text("claims a split into %u files, at most %u are allowed", *count, limits::kShards));
    LET(number, first.metadata().get_u32(kSplitNumberKey));
    if (!number) return split_error(path, "belongs to a split model but has no key 'split.no'");
    const auto name = parse_split_name(path);
    if (*number != 0) {
        const std::string hint = name ? split_path(name->prefix, 1, name->count) : "the first file";
        return split_error(path, format_text("is file %u of %u of a split model: open %s", *number + 1, *count, escaped(hint).c_str()));
    }
    if (!name)
        return split_error(path, format_text("is the first of %u files, but its name does not end in -00001-of-%05u.gguf", *count, *count));
    if (name->number != 1 || name->count != *count)
        return split_error(path, format_text("is named file %u of %u, but says it is file 1 of %u", name->number, name->count, *count));
    return *count;
}

Status check_shard(const Gguf& shard, uint32_t number, uint32_t count) {
    LET(found_number, shard.metadata().get_u32(kSplitNumberKey));
    LET(found_count, shard.metadata().get_u32(kSplitCountKey));
    if (!found_number || *found_number != number)
        return split_error(shard.path(), format_text("key 'split.no' holds %s, %u expected",
                                                     found_number ? std::to_string(*found_number).c_str() : "nothing", number));
    if (found_count && *found_count != count)
        return split_error(shard.path(), format_text("key 'split.count' holds %u, %u expected", *found_count, count));
    return {};
}

}  // namespace

Result<Gguf> Gguf::open(const std::string& path, MappedFile::Mode mode) {
    std::vector<MappedFile> files;
    LET(model, open_one(path, mode, files));
    LET(count, split_count(model));
    for (uint32_t number = 1; number < count; ++number) {
        const std::string prefix = parse_split_name(path)->prefix;
        LET(shard, open_one(split_path(prefix, number + 1, count), mode, files));
        TRY(check_shard(shard, number, count));
        if (model.tensors_.size() + shard.tensors_.size() > limits::kTensors)
            return split_error(path, format_text("its files hold more than %llu tensors",
                                                 static_cast<unsigned long long>(limits::kTensors)));
        for (TensorInfo& tensor : shard.tensors_) {
            tensor.shard = number;
            model.tensors_.push_back(std::move(tensor));
        }
    }
    if (count > 1) {
        const auto twice = model.index_.build(model.tensors_.size(),
                                              [&](size_t i) { return std::string_view(model.tensors_[i].name); });
        if (twice) return split_error(path, "tensor '" + escaped(model.tensors_[*twice].name) + "' is in two of its files");
        LET(expected, model.metadata_.get_i64(kSplitTensorsKey));
        if (expected && *expected != static_cast<int64_t>(model.tensors_.size()))
            return split_error(path, format_text("its %u files hold %zu tensors, key 'split.tensors.count' says %lld", count,
                                                 model.tensors_.size(), static_cast<long long>(*expected)));
    }
    model.files_ = std::move(files);
    return model;
}

}  // namespace quant
