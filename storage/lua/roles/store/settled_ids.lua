-- The set of ids that are settled of a page, as campaigns/id_set.py packs it: block, bits, block, bits …, 64 ids a block.

local bit = require('bit')
local ffi = require('ffi')

local settled_ids = {}

local word = ffi.typeof('uint64_t')

-- block -> bits; nil for an empty set.
function settled_ids.unpack(packed)
    if packed == nil or #packed == 0 then
        return nil
    end
    local blocks = {}
    for i = 1, #packed, 2 do
        local block = tonumber(packed[i])
        blocks[block] = bit.bor(blocks[block] or 0ULL, ffi.cast(word, packed[i + 1]))
    end
    return blocks
end

function settled_ids.has(blocks, id)
    local bits = blocks[math.floor(id / 64)]
    return bits ~= nil and bit.band(bits, bit.lshift(1ULL, id % 64)) ~= 0
end

return settled_ids
