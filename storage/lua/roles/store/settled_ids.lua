-- The set of ids that are settled of a page, as campaigns/id_set.py packs it: pairs of a block of 64 ids and its bits, as
-- a number, or of the first block of a run and the bits of all of it, as octets behind RUN.

local bit = require('bit')
local ffi = require('ffi')

local settled_ids = {}

local word, octet = ffi.typeof('uint64_t'), ffi.typeof('uint8_t *')
local words = ffi.typeof('uint64_t[?]')
local RUN = '\xff'
local JOIN_EVERY = 512 -- numbers that have been added

local function is_run(bits)
    return type(bits) == 'string'
end

-- How many blocks a run has.
local function blocks_of(run)
    return (#run - #RUN) / 8
end

-- Copy a run's bits to `to`.
local function copy_bits(to, run)
    ffi.copy(to, ffi.cast('const char *', run) + #RUN, #run - #RUN)
end

-- block -> bits; nil for an empty set.
function settled_ids.unpack(packed)
    if packed == nil or #packed == 0 then
        return nil
    end
    local blocks = {}
    local function add(block, bits)
        blocks[block] = bit.bor(blocks[block] or 0ULL, bits)
    end
    for i = 1, #packed, 2 do
        local block, bits = tonumber(packed[i]), packed[i + 1]
        if is_run(bits) then
            local n = blocks_of(bits)
            local all = words(n)
            copy_bits(all, bits)
            for k = 0, n - 1 do
                add(block + k, all[k])
            end
        else
            add(block, ffi.cast(word, bits))
        end
    end
    return blocks
end

function settled_ids.has(blocks, id)
    local bits = blocks[math.floor(id / 64)]
    return bits ~= nil and bit.band(bits, bit.lshift(1ULL, id % 64)) ~= 0
end

-- Two runs that overlap or touch, as one: its first block, its bits.
local function merged(block, run, other_block, other)
    local first = math.min(block, other_block)
    local n = math.max(block + blocks_of(run), other_block + blocks_of(other)) - first
    local all, more = words(n + 1), words(blocks_of(other)) -- one word more in front: RUN is its last octet
    copy_bits(all + 1 + (block - first), run)
    copy_bits(more, other)
    for k = 0, blocks_of(other) - 1 do
        local at = 1 + other_block - first + k
        all[at] = bit.bor(all[at], more[k])
    end
    local octets = ffi.cast(octet, all) + 8 - #RUN
    octets[0] = RUN:byte()
    return first, ffi.string(octets, #RUN + 8 * n)
end

local function add_run(packed, block, run)
    for i = 1, #packed, 2 do
        local known = packed[i + 1]
        if is_run(known) then
            local from = tonumber(packed[i])
            if block <= from + blocks_of(known) and from <= block + blocks_of(run) then
                packed[i], packed[i + 1] = merged(from, known, block, run)
                return
            end
        end
    end
    table.insert(packed, block)
    table.insert(packed, run)
end

-- Write blocks as pairs, behind those of `list`.
function settled_ids.pack(blocks, list)
    list = list or {}
    for block, bits in pairs(blocks) do
        table.insert(list, block)
        table.insert(list, bits)
    end
    return list
end

-- Each block once; runs stay as they are.
local function joined(packed)
    local list, single = {}, {}
    for i = 1, #packed, 2 do
        local to = is_run(packed[i + 1]) and list or single
        table.insert(to, packed[i])
        table.insert(to, packed[i + 1])
    end
    return settled_ids.pack(settled_ids.unpack(single) or {}, list)
end

-- All ids from one to another, as blocks; some before the first and behind the last are among them.
function settled_ids.all(first, last)
    local blocks = {}
    for block = math.floor(tonumber(first) / 64), math.floor(tonumber(last) / 64) do
        blocks[block] = bit.bnot(0ULL)
    end
    return blocks
end

-- Add the ids of other blocks to these, which are changed; and take them away.
function settled_ids.join(blocks, more)
    for block, bits in pairs(more) do
        blocks[block] = bit.bor(blocks[block] or 0ULL, bits)
    end
    return blocks
end

function settled_ids.without(blocks, others)
    for block, bits in pairs(others) do
        local left = bit.band(blocks[block] or 0ULL, bit.bnot(bits))
        blocks[block] = left ~= 0 and left or nil
    end
    return blocks
end

-- Add a packed set to another one, and return it. Where the batches of a page interleave (window classes), each has its
-- own bits of the same blocks. Without joining them a page's set would have as many blocks as recipients, and each batch
-- reads and writes all of it: 5 ms of Tarantool's thread.
function settled_ids.add(packed, more)
    local before = math.floor(#packed / JOIN_EVERY)
    for i = 1, #more, 2 do
        if is_run(more[i + 1]) then
            add_run(packed, tonumber(more[i]), more[i + 1])
        else
            table.insert(packed, more[i])
            table.insert(packed, more[i + 1])
        end
    end
    return math.floor(#packed / JOIN_EVERY) > before and joined(packed) or packed
end

return settled_ids
