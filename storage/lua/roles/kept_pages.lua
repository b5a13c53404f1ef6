-- Pages on their way from the store to the tubes, where one instance is both: the batcher decides when and where each of
-- their parts goes, and need not see who is in it. So recipients leave the instance only in the batches that are taken.
-- A page that is not here any more (the instance has restarted, or its batcher ended) is read again.

local ffi = require('ffi')
local fiber = require('fiber')
local uuid = require('uuid')

local kept_pages = {}

local MOST = 256 * 1024 * 1024 -- octets of all pages
local LONGEST = 60 -- seconds: the batcher puts a page within a moment, or waits for memory
local process = uuid.str() -- another process's pages have other names
local pages, oldest, newest, octets = {}, 1, 0, 0

local function drop(n)
    local page = pages[n]
    if page ~= nil then
        octets = octets - page.octets
        for _, rows in ipairs(page.parts) do
            rows:recycle()
        end
        pages[n] = nil
    end
end

local function trim()
    while oldest <= newest do
        local page = pages[oldest]
        if page ~= nil and octets <= MOST and fiber.clock() - page.since <= LONGEST then
            return
        end
        drop(oldest)
        oldest = oldest + 1
    end
end

-- The page's number here; 0: it is another process's.
local function find(name)
    return name:sub(1, #process) == process and tonumber(name:sub(#process + 2)) or 0
end

-- Keep the recipients of a page's parts, a buffer each (which is ours from now on). Returns the page's name.
function kept_pages.keep(parts)
    local page = {parts = parts, since = fiber.clock(), octets = 0}
    for _, rows in ipairs(parts) do
        page.octets = page.octets + rows:size()
    end
    newest = newest + 1
    pages[newest], octets = page, octets + page.octets
    trim()
    return process .. ' ' .. newest
end

-- The recipients of its nth part; nil: the page is not here any more.
function kept_pages.part(name, n)
    local page = pages[find(name)]
    local rows = page and page.parts[n]
    return rows and ffi.string(rows.rpos, rows:size())
end

function kept_pages.has(name)
    return pages[find(name)] ~= nil
end

function kept_pages.drop(name)
    drop(find(name))
end

-- For tests: how many there are, and their octets.
function kept_pages.usage()
    local n = 0
    for _ in pairs(pages) do
        n = n + 1
    end
    return n, octets
end

return kept_pages
