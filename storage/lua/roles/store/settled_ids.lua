-- The set of ids that are settled of a page, as campaigns/id_set.py packs it: block, bits, block, bits …, 64 ids a block.

local bit = require('bit')
local ffi = require('ffi')

local settled_ids = {}

local word = ffi.typeof('uint64_t')
local JOIN_EVERY = 512 -- numbers that have been added

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

-- Each block once.
local function joined(packed)
    local list = {}
    for block, bits in pairs(settled_ids.unpack(packed)) do
        table.insert(list, block)
        table.insert(list, bits)
    end
    return list
end

-- Add a packed set to another one, and return it. Where the batches of a page interleave (window classes), each has its
-- own bits of the same blocks. Without joining them a page's set would have as many blocks as recipients, and each batch
-- reads and writes all of it: 5 ms of Tarantool's thread.
function settled_ids.add(packed, more)
    local before = math.floor(#packed / JOIN_EVERY)
    for _, number in ipairs(more) do
        table.insert(packed, number)
    end
    return math.floor(#packed / JOIN_EVERY) > before and joined(packed) or packed
end

return settled_ids
