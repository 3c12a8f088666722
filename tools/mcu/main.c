/* Plays recorded observations with an exported agent on an emulated Cortex-M, and prints what tools/mcu.py reads.
 *
 * At RECORDED lie: how many decisions; for each a word that is not 0 where an episode begins, and its observation, filled up
 * to whole words. The emulator counts instructions as time: SysTick ticks once every 40 of them.
 */
#include <stdint.h>

#include "agent.h"

#define RECORDED 0x21000000u
#define SYSTICK ((volatile uint32_t *)0xE000E010u)
#define WORDS ((sizeof(agent_input) * AGENT_INPUTS + 3u) / 4u)

extern uint32_t stack_top, bss_begin, bss_end;
static agent_state state;

static uint32_t host(uint32_t operation, const void *what)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = what;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void print(uint32_t value, char end)
{
    char text[12];
    char *at = text + 11;
    *at = 0;
    *--at = end;
    do
        *--at = (char)('0' + value % 10u);
    while (value /= 10u);
    host(4u, at); /* SYS_WRITE0 */
}

static uint32_t begin(void)
{
    SYSTICK[2] = 0; /* begins anew from the top */
    return SYSTICK[2];
}

static uint32_t ticks(uint32_t from)
{
    return (from - SYSTICK[2]) & 0xFFFFFFu;
}

static void known_loop(uint32_t turns)
{
    __asm__ volatile("1: subs %0, #1\n bne 1b" : "+r"(turns)); /* two instructions a turn */
}

void *memset(void *to, int value, unsigned size)
{
    unsigned n;
    for (n = 0; n < size; n++)
        ((volatile unsigned char *)to)[n] = (unsigned char)value;
    return to;
}

void reset(void)
{
    const uint32_t *from = (const uint32_t *)RECORDED;
    uint32_t left = *from++, start, took, action;
    uint32_t *word;
    for (word = &bss_begin; word < &bss_end; word++)
        *word = 0;
    SYSTICK[1] = 0xFFFFFFu;
    SYSTICK[0] = 5u; /* the processor's clock, no interrupt */
    start = begin();
    known_loop(1000000u);
    print(ticks(start), '\n');
    agent_reset(&state);
    for (; left; left--, from += 1u + WORDS) {
        if (*from)
            agent_reset(&state);
        start = begin();
        action = agent_decide(&state, (const agent_input *)(from + 1));
        took = ticks(start);
        print(action, ' ');
        print(took, '\n');
    }
    host(0x18u, (const void *)0x20026u); /* SYS_EXIT: done */
    for (;;)
        ;
}

__attribute__((section(".vectors"), used)) static void *const vectors[2] = {&stack_top, (void *)reset};
