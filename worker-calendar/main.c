#include "worker-calendar/calendar_service.h"

int main(int argc, char **argv)
{
    return service_main(argc, argv, &calendar_service);
}
