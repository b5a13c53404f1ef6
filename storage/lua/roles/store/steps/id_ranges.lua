-- Version 1 told who is settled of a page as id ranges of a channel, less the ids that went back to the tube. Here they
-- become the sets of ids that later versions keep (campaigns/id_set.py). In version 1 a batch had all ids of its channel
-- between its first and its last; only a remainder listed its own.

local bit = require('bit')

local id_ranges = {}

local function pack(ids)
    local blocks, packed = {}, {}
    for _, id in ipairs(ids) do
        local block = math.floor(id / 64)
        blocks[block] = bit.bor(blocks[block] or 0ULL, bit.lshift(1ULL, id % 64))
    end
    for block, bits in pairs(blocks) do
        table.insert(packed, block)
        table.insert(packed, bits)
    end
    return packed
end

-- Of a line or a span: those of `ids` (nil: of the channel's subscribers from `first` to `last`) that are not in `left`.
function id_ranges.settled(channel, first, last, left, ids)
    local again, settled = {}, {}
    for _, id in ipairs(left) do
        again[tonumber(id)] = true
    end
    local function add(id)
        if not again[tonumber(id)] then
            table.insert(settled, tonumber(id))
        end
    end
    for _, id in ipairs(ids or {}) do
        add(id)
    end
    if ids == nil then
        for _, row in box.space.store_subscribers:pairs({first}, {iterator = 'GE'}) do
            if row[1] > last then
                break
            end
            if row[2] == channel then
                add(row[1])
            end
        end
    end
    return pack(settled)
end

return id_ranges
